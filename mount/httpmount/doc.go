// Package httpmount mounts CARs that an HTTP server offers. They are read by
// ranges where the server has them, and as a stream from their beginning
// everywhere.
//
//	web, err := httpmount.New(&httpmount.Config{
//		Credentials: []httpmount.Credential{{Hosts: []string{"cars.example.org"}, Bearer: token}},
//	})
//	if err != nil {
//		return err
//	}
//	defer web.CloseIdle()
//	mounts := mount.Registry{"http": web.Open, "https": web.Open}
//
// A piece that a storage provider of Filecoin offers for retrieval is such a
// CAR: https://provider.example/piece/baga….
//
// # URLs
//
// A URL holds no credential: user names, passwords and queries that are signed
// or carry a token are refused with what to write instead. Any other query is
// part of the place. The canonical spelling has scheme and host in lower case,
// addresses as RFC 5952 writes them, no default port, no dot segments, and
// escapes where RFC 3986 needs them, in upper case; an escaped slash stays
// what it is.
//
// # Versions
//
// The version of a source is its ETag, if that is a strong one; reads of that
// version are made with If-Match. A weak ETag promises that two contents mean
// the same, not that they are the same bytes: it is then a part of the version,
// with the time of Last-Modified and the size; these two alone are the version
// where there is no ETag. Reads of such a version are made with
// If-Unmodified-Since. Two changes within one second that leave the size as it
// was look like one then. What a server answers is held against the version
// each time, whatever it makes of the condition, so an answer of another
// version gives [mount.ErrChanged], and so does one that does not say.
//
// # Servers that do what they should not
//
// Each of these is an error, and none of their bytes is given out as the
// source's: another range than was asked for, several ranges at once, the whole
// where a range was asked for ([mount.ErrNoRanges]), a coding such as gzip,
// fewer bytes than were announced (io.ErrUnexpectedEOF), more of them, a body
// of which nobody says where it ends, headers without end, too many redirects
// ([mount.ErrAnswer]); no answer, or one that drips ([mount.ErrStalled]);
// redirects to where this machine or its network alone should get
// ([mount.ErrDenied]). A server that wants us to wait gives a
// [mount.BusyError], one that wants other credentials [io/fs.ErrPermission].
package httpmount
