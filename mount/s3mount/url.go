package s3mount

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/dagstore/dagstore/mount"
)

// mostKey is the longest key of S3, and the longest id of a version.
const mostKey = 1024

// A location is what a URL says.
type location struct {
	bucket  string // as the configuration knows it
	key     string // "": the bucket itself
	version string // "": the newest
}

// url spells l canonically.
func (l location) url() string {
	s := "s3://" + l.bucket + "/" + mount.EscapePath(l.key)
	if l.version != "" {
		s += "?versionId=" + escapeQuery(l.version)
	}
	return s
}

// parseURL is the inverse of url, and takes other spellings. Its errors do not
// repeat the URL, which may hold a credential that does not belong there.
func parseURL(url string) (location, error) {
	rest, ok := strings.CutPrefix(url, "s3://")
	if !ok {
		return location{}, fmt.Errorf("%w: it does not begin with \"s3://\"", mount.ErrURL)
	}
	if strings.IndexByte(rest, '#') >= 0 {
		return location{}, fmt.Errorf("%w: a \"#\" in a key is written %%23", mount.ErrURL)
	}
	rest, query, asked := strings.Cut(rest, "?")
	bucket, key, _ := strings.Cut(rest, "/")
	switch {
	case strings.ContainsAny(bucket, "@"):
		return location{}, fmt.Errorf("%w: credentials do not belong in it; set them in the configuration of the bucket", mount.ErrURL)
	case strings.ContainsAny(bucket, ":"):
		return location{}, fmt.Errorf("%w: a bucket stands where other URLs have a host; the endpoint is set in the configuration", mount.ErrURL)
	case !isBucket(bucket):
		return location{}, fmt.Errorf("%w: no bucket is called so", mount.ErrURL)
	}
	at := location{bucket: bucket}
	var err error
	if at.key, err = mount.UnescapePath(key); err != nil {
		return location{}, err
	}
	if len(at.key) > mostKey || !utf8.ValidString(at.key) {
		return location{}, fmt.Errorf("%w: a key is at most %d bytes of UTF-8", mount.ErrURL, mostKey)
	}
	if asked {
		at.version, err = parseQuery(query)
	}
	return at, err
}

// parseQuery returns the version that a query names, which is all that it may.
func parseQuery(query string) (string, error) {
	name, value, _ := strings.Cut(query, "=")
	if name != "versionId" || strings.IndexByte(value, '&') >= 0 {
		for param := range strings.SplitSeq(query, "&") {
			name, _, _ := strings.Cut(param, "=")
			switch strings.ToLower(name) {
			case "x-amz-signature", "x-amz-credential", "x-amz-security-token", "signature", "awsaccesskeyid":
				return "", fmt.Errorf("%w: it is signed in advance, and will not be good for long; leave out the query and set credentials in the configuration", mount.ErrURL)
			}
		}
		return "", fmt.Errorf("%w: its query may be \"versionId=ID\" and nothing else; a \"?\" in a key is written %%3F", mount.ErrURL)
	}
	version, err := unescapeQuery(value)
	if err != nil {
		return "", err
	}
	if version == "" || len(version) > mostKey {
		return "", fmt.Errorf("%w: the id of a version has 1 to %d bytes", mount.ErrURL, mostKey)
	}
	return version, nil
}

// escapeQuery spells what stands in a query. The slash is escaped as well, so
// that it is [unescapeQuery] alone that takes one.
func escapeQuery(s string) string {
	return strings.NewReplacer("/", "%2F", "&", "%26", "=", "%3D", "+", "%2B").Replace(mount.EscapePath(s))
}

func unescapeQuery(s string) (string, error) {
	parts := strings.Split(strings.ReplaceAll(s, "%2f", "%2F"), "%2F")
	for i, part := range parts {
		var err error
		if parts[i], err = mount.UnescapePath(part); err != nil {
			return "", err
		}
	}
	return strings.Join(parts, "/"), nil
}
