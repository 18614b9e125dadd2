// Package rclone mounts CARs at any of the some 70 kinds of places that rclone
// reaches. It is a Go module of its own, since rclone links a lot:
//
//	import _ "github.com/rclone/rclone/backend/b2" // or backend/all
//
//	client := rclone.New(rclone.Config{Remotes: map[string]string{
//		"archive": "b2:bucket/cars", // as "rclone ls" takes it
//	}})
//	defer client.Close()
//	reg := mount.Registry{"rclone": client.Open}
//	m, err := reg.Open("rclone://archive/2026/photos.car")
//
// A URL names one of the remotes that the program lists, and a path in it. It
// cannot name another remote of rclone's configuration, or bring options along.
// Credentials stand in that configuration, which the program loads as rclone
// does, and not in URLs.
//
// rclone asks again by itself when a service is busy or a connection breaks
// off, as its own options say.
package rclone
