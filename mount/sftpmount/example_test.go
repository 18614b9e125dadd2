package sftpmount_test

import (
	"context"
	"fmt"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/sftpmount"
)

// A client knows which hosts are the right ones, and who logs in there.
func ExampleNew() {
	client := sftpmount.New(sftpmount.Config{
		KnownHosts: []string{"/etc/ssh/ssh_known_hosts"},
		Login: func(context.Context, string) (*sftpmount.Login, error) {
			return &sftpmount.Login{User: "ann", KeyFiles: []string{"/etc/dagstore/id_ed25519"}}, nil
		},
	})
	defer client.Close()
	reg := mount.Registry{"sftp": client.Open}
	m, err := reg.Open("sftp://Files.example.org:22/srv/my photos.car")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(m.URL())
	// Output: sftp://files.example.org/srv/my%20photos.car
}
