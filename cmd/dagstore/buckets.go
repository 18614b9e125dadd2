package main

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/dagstore/dagstore/cmd/dagstore/internal/settings"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/s3mount"
)

// buckets makes what reaches S3.
func (k *kinds) buckets() (*s3mount.Client, error) {
	cfg := &s3mount.Config{PerHost: k.perHost()}
	if k.settings.Sources.Proxy {
		cfg.Proxy = http.ProxyFromEnvironment
	}
	for _, name := range slices.Sorted(maps.Keys(k.settings.S3)) {
		service, err := k.service(k.settings.S3[name])
		if err != nil {
			return nil, fmt.Errorf("[s3.%s]: %w", name, err)
		}
		cfg.Services = append(cfg.Services, service)
	}
	client, err := s3mount.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	k.ends(client.CloseIdle)
	return client, nil
}

// service is s with the secrets that it names.
func (k *kinds) service(s *settings.S3) (s3mount.Service, error) {
	out := s3mount.Service{
		Buckets: s.Buckets, Endpoint: s.Endpoint, Region: s.Region, RequesterPays: s.RequesterPays,
		Credentials: s3mount.Credentials{Profile: s.Profile, Anonymous: s.Anonymous},
	}
	if s.PathStyle {
		out.Addressing = s3mount.InPath
	}
	for _, file := range []string{k.settings.Sources.CA, s.CA} {
		if file == "" {
			continue
		}
		pem, err := os.ReadFile(file)
		if err != nil {
			return out, err
		}
		out.CA += string(pem) + "\n"
	}
	if s.Credentials != "" {
		c := k.settings.Credentials[s.Credentials]
		secret, err := k.secret(s.Credentials, c)
		if err != nil {
			return out, err
		}
		out.Credentials.AccessKey, out.Credentials.SecretKey = c.User, s3mount.Secret(secret)
	}
	return out, nil
}

// listBuckets lists a prefix of S3.
func (k *kinds) listBuckets(ctx context.Context, url string) iter.Seq2[listed, error] {
	return func(yield func(listed, error) bool) {
		client, err := k.s3()
		if err != nil {
			yield(listed{}, err)
			return
		}
		prefix := keyPrefix(url)
		var cost s3mount.Cost
		var before int64
		for object, err := range client.List(ctx, url, &s3mount.ListOptions{Cost: &cost}) {
			o := listed{object.URL, strings.TrimPrefix(object.Key, prefix), object.Stat(), cost.Lists - before}
			before = cost.Lists
			if !yield(o, err) {
				return
			}
		}
		if cost.Lists > before { // a page without an object costs as much
			yield(listed{requests: cost.Lists - before}, nil)
		}
	}
}

// keyPrefix is the prefix of keys that url names, in whatever spelling; the
// listing says what is wrong with one that names none.
func keyPrefix(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	_, escaped, _ := strings.Cut(rest, "/")
	key, err := mount.UnescapePath(escaped)
	if err != nil {
		return ""
	}
	return key
}
