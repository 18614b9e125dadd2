package s3mount_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/s3mount"
)

func Example() {
	s3, err := s3mount.New(&s3mount.Config{
		Services: []s3mount.Service{
			{Region: "eu-central-1"}, // Amazon S3, with the credentials of the AWS tools
			{Buckets: []string{"nas-cars"}, Name: "cars", Endpoint: "https://nas.example.com:9000", Credentials: s3mount.Credentials{Profile: "nas"}},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer s3.CloseIdle()
	reg := mount.Registry{"s3": s3.Open}
	for _, url := range []string{"s3://cars/2026/a b.car", "s3://nas-cars/2026/a b.car"} {
		m, err := reg.Open(url)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(m.URL())
	}
	// Output:
	// s3://cars/2026/a%20b.car
	// s3://nas-cars/2026/a%20b.car
}

func ExampleClient_List() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `<ListBucketResult>
			<Contents><Key>2026/a.car</Key><Size>1200</Size><ETag>"one"</ETag><StorageClass>STANDARD</StorageClass></Contents>
			<Contents><Key>2026/b.car</Key><Size>3400</Size><ETag>"two"</ETag><StorageClass>GLACIER</StorageClass></Contents>
		</ListBucketResult>`)
	}))
	defer server.Close()
	s3, err := s3mount.New(&s3mount.Config{Services: []s3mount.Service{{Endpoint: server.URL, Credentials: s3mount.Credentials{Anonymous: true}}}})
	if err != nil {
		log.Fatal(err)
	}
	defer s3.CloseIdle()
	var cost s3mount.Cost
	for object, err := range s3.List(context.Background(), "s3://cars/2026/", &s3mount.ListOptions{Cost: &cost}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(object.URL, object.Size, object.ETag, object.Archived)
	}
	fmt.Println(cost.Lists, "request")
	// Output:
	// s3://cars/2026/a.car 1200 one false
	// s3://cars/2026/b.car 3400 two true
	// 1 request
}
