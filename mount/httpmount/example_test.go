package httpmount_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/httpmount"
)

func Example() {
	web, err := httpmount.New(&httpmount.Config{
		Credentials: []httpmount.Credential{{Hosts: []string{"cars.example.org"}, Bearer: "…"}},
		PerHost:     8,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer web.CloseIdle()
	mounts := mount.Registry{"http": web.Open, "https": web.Open}
	m, err := mounts.Open("HTTPS://Cars.Example.org:443/2026/a%62c.car")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(m.URL())
	// Output: https://cars.example.org/2026/abc.car
}

// A storage provider of Filecoin serves pieces over HTTP, by their piece CID.
// What lies in a piece beside the CAR is left out by a section.
func Example_piece() {
	const piece = "/piece/baga6ea4seaqao7s73y24kcutaosvacpdjgfe5pw76ooefnyqw4ynr3d2y6x2mpq"
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != piece {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Etag", `"`+strings.TrimPrefix(piece, "/piece/")+`"`)
		http.ServeContent(w, r, "piece", time.Time{}, strings.NewReader("CAR, then padding"))
	}))
	defer provider.Close()

	web, err := httpmount.New(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer web.CloseIdle()
	mounts := mount.Registry{"http": web.Open, "https": web.Open}
	m, err := mounts.Open(provider.URL + piece + "#bytes=0-2")
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	st, err := m.Stat(ctx)
	fmt.Println(st.Size, st.Version, st.Ranges, err)
	r, err := m.Open(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	car, err := io.ReadAll(r)
	fmt.Println(string(car), err)
	// Output:
	// 3 "baga6ea4seaqao7s73y24kcutaosvacpdjgfe5pw76ooefnyqw4ynr3d2y6x2mpq" true <nil>
	// CAR <nil>
}

func ExampleCredential() {
	cfg := httpmount.Config{Credentials: []httpmount.Credential{{Hosts: []string{"*.example.org"}, User: "ann", Password: "secret"}}}
	fmt.Printf("%+v\n", cfg.Credentials[0])
	// Output: {Hosts:[*.example.org] Bearer: User:ann Password:*** Header: Value: PlainHTTP:false}
}
