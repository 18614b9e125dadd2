package ftpmount_test

import (
	"context"
	"fmt"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/ftpmount"
)

// A client is the opener of three schemes, and knows who logs in where.
func ExampleNew() {
	client := ftpmount.New(ftpmount.Config{
		Login: func(_ context.Context, host string) (*ftpmount.Login, error) {
			if host == "files.example.org" {
				return &ftpmount.Login{User: "ann", Password: "from a file"}, nil
			}
			return nil, nil // anonymous
		},
	})
	defer client.Close()
	reg := mount.Registry{"ftp": client.Open, "ftpes": client.Open, "ftps": client.Open}
	m, err := reg.Open("ftpes://Files.example.org:21/cars/my photos.car")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(m.URL())
	// Output: ftpes://files.example.org/cars/my%20photos.car
}
