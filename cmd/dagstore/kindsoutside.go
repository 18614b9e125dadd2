package main

import (
	"maps"
	"net"

	"github.com/dagstore/dagstore/cmd/dagstore/internal/outside"
	"github.com/dagstore/dagstore/internal/netguard"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/filemount"
	"github.com/dagstore/dagstore/mount/ftpmount"
	"github.com/dagstore/dagstore/mount/httpmount"
	"github.com/dagstore/dagstore/mount/zstdmount"
)

// outside names the kinds for sources that were named by who may not name
// private ones. They have connections of their own, which go to addresses of the
// public internet only, show no credential, and use no proxy, which would dial by
// itself. Files are those below the folders that the configuration names.
func (k *kinds) outside() (mount.Registry, error) {
	files, err := filemount.Within(k.settings.Sources.Files...) // without folders: none
	if err != nil {
		return nil, err
	}
	const login = "it takes a login, and those of the configuration are for who has the scope sources:private"
	web, ftp := lazily(k.webOutside), lazily(k.ftpOutside)
	inner := mount.Registry{
		"file": files, "http": web, "https": web, "s3": outside.Refuse(login),
		"ftp": ftp, "ftpes": ftp, "ftps": ftp, "sftp": outside.Refuse(login),
	}
	for scheme, open := range maps.Clone(inner) {
		inner["zstd+"+scheme] = zstdmount.Wrap(open)
	}
	r := make(mount.Registry)
	for scheme, open := range inner {
		r[outside.Prefix+scheme] = outside.Wrap(open)
	}
	return r, nil
}

// webOutside opens what lies behind HTTP in the public internet.
func (k *kinds) webOutside() (mount.Opener, error) {
	trusted, err := trust(k.settings.Sources.CA)
	if err != nil {
		return nil, err
	}
	client, err := httpmount.New(&httpmount.Config{PerHost: k.perHost(), TLS: trusted, Untrusted: true})
	if err != nil {
		return nil, err
	}
	k.ends(client.CloseIdle)
	return client.Open, nil
}

// ftpOutside opens what lies on FTP servers in the public internet, for everybody.
func (k *kinds) ftpOutside() (mount.Opener, error) {
	trusted, err := trust(k.settings.Sources.CA)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{ControlContext: netguard.New().Control}
	client := ftpmount.New(ftpmount.Config{TLS: trusted, Dial: dialer.DialContext, MaxConns: min(k.perHost(), mostFTP)})
	k.ends(func() { _ = client.Close() }) // nothing was written
	return client.Open, nil
}
