package main

import (
	"testing"

	"github.com/dagstore/dagstore/cmd/dagstore/internal/settings"
)

// Each protocol takes the credential that is of use to it: a token of HTTP is
// never sent as a password, nor does it hide one.
func TestCredentialsOfKinds(t *testing.T) {
	env := map[string]string{"TOKEN": "token", "SECRET": "secret", "PHRASE": "phrase", "USER": "me"}
	hosts := []string{"files.example", "*.below.example"}
	file := &settings.File{Credentials: map[string]*settings.Credential{
		"a-header": {Hosts: hosts, Header: "X-Api-Key", Env: "TOKEN"},
		"b-token":  {Hosts: hosts, Env: "TOKEN"},
		"c-key":    {Hosts: []string{"files.example"}, Key: "id", Env: "PHRASE"},
		"d-user":   {Hosts: hosts, User: "ann", Env: "SECRET", Cleartext: true},
	}}
	k := newKinds(file, func(name string) string { return env[name] })
	for _, host := range []string{"files.example", "FILES.example", "x.below.example"} {
		login, err := k.ftpLogin(t.Context(), host)
		if err != nil || login == nil || login.User != "ann" || login.Password != "secret" || !login.Cleartext {
			t.Errorf("%s by FTP: %+v, %v", host, login, err)
		}
	}
	login, err := k.sftpLogin(t.Context(), "files.example")
	if err != nil || login.User != "me" || login.Password != "" || login.Passphrase != "phrase" || len(login.KeyFiles) != 1 {
		t.Errorf("by SFTP: %+v, %v", login, err)
	}
	if login, err = k.sftpLogin(t.Context(), "x.below.example"); err != nil || login.User != "ann" || login.Password != "secret" {
		t.Errorf("by SFTP, with a password: %+v, %v", login, err)
	}
	for _, host := range []string{"below.example", "files.example:2121", "evilfiles.example"} {
		if login, err := k.ftpLogin(t.Context(), host); login != nil || err != nil {
			t.Errorf("%s by FTP: %+v, %v", host, login, err)
		}
		if login, err := k.sftpLogin(t.Context(), host); err != nil || login.User != "me" || login.Password != "" {
			t.Errorf("%s by SFTP: %+v, %v", host, login, err)
		}
	}
}
