// Package s3mount mounts CARs that are objects of S3, or of anything that
// speaks like it.
//
//	s3, err := s3mount.New(&s3mount.Config{Services: []s3mount.Service{{
//		Endpoint: "https://s3.example.com",
//		Region:   "eu-central-1",
//	}}})
//	if err != nil {
//		return err
//	}
//	defer s3.CloseIdle()
//	reg := mount.Registry{"file": filemount.Open, "s3": s3.Open}
//
// A URL is s3://BUCKET/KEY and nothing else: endpoint, region and credentials
// belong to the bucket, in [Config]. So a URL stays what it is when keys are
// changed or a bucket moves to another provider, and holds no secret. Two
// buckets of one name at two endpoints are told apart by the Name of their [Service].
//
// [Client.List] lists a prefix, with what a store wants to know of each object.
//
// A range is one GET, which demands the ETag that the reader has in mind: a
// source that changes between two reads gives [mount.ErrChanged] and never a
// mixture. Nothing is tried again here, but once for a bucket that lies in
// another region than was thought; a server that has too much to do gives a
// [mount.BusyError] with the wait that it asks for. An object that is archived
// gives [mount.ErrNotReady]: it is never restored here.
//
// Of the module minio-go this package links what signs requests and what finds
// credentials, and not the client, which tries again by itself.
package s3mount
