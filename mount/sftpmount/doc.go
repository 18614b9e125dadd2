// Package sftpmount mounts CARs that lie on SSH servers, reached by SFTP
// (version 3, as OpenSSH speaks it).
//
//	client := sftpmount.New(sftpmount.Config{
//		KnownHosts: []string{"/etc/ssh/ssh_known_hosts"},
//		Login: func(ctx context.Context, host string) (*sftpmount.Login, error) {
//			return &sftpmount.Login{User: "ann", KeyFiles: []string{"/etc/dagstore/id_ed25519"}}, nil
//		},
//	})
//	defer client.Close()
//	reg := mount.Registry{"sftp": client.Open}
//	m, err := reg.Open("sftp://files.example.org/srv/cars/photos.car")
//
// The path of a URL is absolute. A URL holds no user and no password:
// [Config] has them, by host.
//
// A server proves who it is before anything is sent to it: its key must stand
// in one of the files of known hosts, which "ssh-keyscan" and "ssh" write. There
// is no way to leave this out.
//
// All mounts of a host share one connection, which is made when it is needed
// and closed when it is not. Some channels of it serve many streams at
// once, and a stream asks for its bytes in many requests under way together. A
// connection that is lost is made again by the next call; streams that were
// open on it end with io.ErrUnexpectedEOF.
package sftpmount
