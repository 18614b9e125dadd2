package s3mount_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dagstore/dagstore/mount/s3mount"
)

// bare takes from the environment whatever leads to credentials.
func bare(t *testing.T) (home string) {
	t.Helper()
	home = t.TempDir()
	for _, name := range []string{
		"AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION",
		"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_STS", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_EC2_METADATA_SERVICE_ENDPOINT",
		"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE",
	} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", home)
	t.Setenv("USERPROFILE", home)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	return home
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// signedBy is a server that remembers with which key a request was signed.
func signedBy(t *testing.T) (f *fake, key func() string) {
	t.Helper()
	var last atomic.Value
	f = newFake(t, func(w http.ResponseWriter, r *http.Request) {
		_, rest, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
		name, _, _ := strings.Cut(rest, "/")
		last.Store(name + " " + r.Header.Get("X-Amz-Security-Token"))
		good(w, r)
	})
	return f, func() string { return last.Load().(string) }
}

func stat(t *testing.T, c *s3mount.Client) error {
	t.Helper()
	_, err := open(t, c, "s3://cars/a").Stat(t.Context())
	return err
}

// Every link of the chain, with what stands before it out of the way.
func TestCredentialChain(t *testing.T) {
	cloud := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		answer := map[string]any{"Code": "Success", "AccessKeyId": "machine", "SecretAccessKey": secretMarker, "Token": "t", "Expiration": time.Now().Add(time.Hour)}
		switch r.Method + " " + r.URL.Path {
		case "PUT /latest/api/token":
			fmt.Fprint(w, "imds-token")
		case "GET /latest/meta-data/iam/security-credentials/":
			fmt.Fprintln(w, "role")
		case "GET /latest/meta-data/iam/security-credentials/role":
			if r.Header.Get("X-Aws-Ec2-Metadata-Token") != "imds-token" {
				w.WriteHeader(http.StatusUnauthorized)
			}
			_ = json.NewEncoder(w).Encode(answer)
		case "GET /container":
			answer["AccessKeyId"] = "container:" + r.Header.Get("Authorization")
			_ = json.NewEncoder(w).Encode(answer)
		case "POST /":
			_ = r.ParseForm()
			fmt.Fprintf(w, `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials>
<AccessKeyId>web:%s:%s</AccessKeyId><SecretAccessKey>x</SecretAccessKey><SessionToken>t</SessionToken><Expiration>%s</Expiration></Credentials>
</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`, r.Form.Get("WebIdentityToken"), r.Form.Get("RoleArn"), time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})
	for name, c := range map[string]struct {
		set  func(home string)
		want string
	}{
		"environment": {func(home string) {
			t.Setenv("AWS_ACCESS_KEY_ID", "env")
			t.Setenv("AWS_SECRET_ACCESS_KEY", secretMarker)
			t.Setenv("AWS_SESSION_TOKEN", "t")
			write(t, filepath.Join(home, ".aws/credentials"), "[default]\naws_access_key_id = file\naws_secret_access_key = x\n")
		}, "env t"},
		"default profile": {func(home string) {
			write(t, filepath.Join(home, ".aws/credentials"), "[default]\naws_access_key_id = file\naws_secret_access_key = x\n")
			t.Setenv("AWS_EC2_METADATA_DISABLED", "")
			t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", cloud.URL)
		}, "file "},
		"AWS_PROFILE": {func(home string) {
			write(t, filepath.Join(home, ".aws/config"), "[profile other]\naws_access_key_id = other\naws_secret_access_key = x\n")
			t.Setenv("AWS_PROFILE", "other")
		}, "other "},
		"web identity": {func(home string) {
			t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", write(t, filepath.Join(home, "token"), "web-token"))
			t.Setenv("AWS_ROLE_ARN", "arn")
			t.Setenv("AWS_ENDPOINT_URL_STS", cloud.URL)
			write(t, filepath.Join(home, ".aws/credentials"), "[default]\naws_access_key_id = file\naws_secret_access_key = x\n")
		}, "web:web-token:arn t"},
		"role of the container": {func(string) {
			t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", cloud.URL+"/container")
			t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "auth")
		}, "container:auth t"},
		"role of the machine": {func(home string) {
			t.Setenv("AWS_EC2_METADATA_DISABLED", "")
			t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", cloud.URL)
			write(t, filepath.Join(home, ".aws/credentials"), "[another]\naws_access_key_id = file\naws_secret_access_key = x\n")
		}, "machine t"},
	} {
		c.set(bare(t))
		f, key := signedBy(t)
		client := newClient(t, &s3mount.Config{Services: []s3mount.Service{{Endpoint: f.URL}}})
		if err := stat(t, client); err != nil || key() != c.want {
			t.Errorf("%s: %v", name, err)
			continue
		}
		asked := cloud.requests.Load()
		if err := stat(t, client); err != nil || key() != c.want || cloud.requests.Load() != asked {
			t.Errorf("%s, again: %v, signed by %q, %d requests for credentials", name, err, key(), cloud.requests.Load()-asked)
		}
	}
}

// Keys that do not say when they expire are fetched once, too.
func TestLastingCredentials(t *testing.T) {
	bare(t)
	cloud := newFake(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"AccessKeyId":"lasting","SecretAccessKey":"x"}`)
	})
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", cloud.URL)
	f, key := signedBy(t)
	c := newClient(t, &s3mount.Config{Services: []s3mount.Service{{Endpoint: f.URL}}})
	for range 5 {
		if err := stat(t, c); err != nil || key() != "lasting " {
			t.Fatal(err, key())
		}
	}
	if n := cloud.requests.Load(); n != 1 {
		t.Errorf("they were fetched %d times", n)
	}
}

func TestProfile(t *testing.T) {
	home := bare(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "env") // which a profile that is named does not look at
	t.Setenv("AWS_SECRET_ACCESS_KEY", "x")
	write(t, filepath.Join(home, ".aws/credentials"), "[default]\naws_access_key_id = default\naws_secret_access_key = x\n[mine]\naws_access_key_id = mine\naws_secret_access_key = x\naws_session_token = t\n")
	file := write(t, filepath.Join(home, "elsewhere"), "[default]\naws_access_key_id = elsewhere\naws_secret_access_key = x\n")
	for want, creds := range map[string]s3mount.Credentials{
		"mine t":     {Profile: "mine"},
		"elsewhere ": {File: file},
		"fixed s":    {AccessKey: "fixed", SecretKey: "x", SessionToken: "s"},
	} {
		f, key := signedBy(t)
		c := newClient(t, &s3mount.Config{Services: []s3mount.Service{{Endpoint: f.URL, Credentials: creds}}})
		if err := stat(t, c); err != nil || key() != want {
			t.Errorf("%+v: %v, signed by %q", creds, err, key())
		}
	}
}

// No request is sent without credentials that were asked for, and the error
// says where they were looked for but nothing of what was found there.
func TestNoCredentials(t *testing.T) {
	broken := newFake(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, "<ErrorResponse><Error><Code>x</Code><Message>SECRET-MARKER</Message></Error></ErrorResponse>")
	})
	for name, c := range map[string]struct {
		set   func(home string)
		creds s3mount.Credentials
		say   string
	}{
		"nothing":         {func(string) {}, s3mount.Credentials{}, "anonymous"},
		"no such profile": {func(string) {}, s3mount.Credentials{Profile: "absent"}, "profile"},
		"no such file":    {func(string) {}, s3mount.Credentials{File: "/absent/credentials"}, "/absent/credentials"},
		"no such profile in the environment": {func(string) {
			t.Setenv("AWS_PROFILE", "absent")
		}, s3mount.Credentials{}, "profile"},
		"half of the keys": {func(home string) {
			write(t, filepath.Join(home, ".aws/credentials"), "[default]\naws_secret_access_key = SECRET-MARKER\n")
		}, s3mount.Credentials{}, "partial"},
		"no keys": {func(home string) {
			write(t, filepath.Join(home, ".aws/credentials"), "[mine]\nregion = x\n")
		}, s3mount.Credentials{Profile: "mine"}, "neither keys"},
		"a line that is none": {func(home string) {
			write(t, filepath.Join(home, ".aws/credentials"), "[mine]\naws_secret_access_key SECRET-MARKER\n")
		}, s3mount.Credentials{Profile: "mine"}, "cannot be used"},
		"a process that fails": {func(home string) {
			write(t, filepath.Join(home, ".aws/config"), "[profile mine]\ncredential_process = /absent/process SECRET-MARKER\n")
		}, s3mount.Credentials{Profile: "mine"}, "profile"},
		"a refusal of the identity": {func(home string) {
			t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", write(t, filepath.Join(home, "token"), secretMarker))
			t.Setenv("AWS_ENDPOINT_URL_STS", broken.URL)
		}, s3mount.Credentials{}, "web identity"},
		"no token of the identity": {func(string) {
			t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/absent/token")
		}, s3mount.Credentials{}, "/absent/token"},
		"a refusal of the machine": {func(string) {
			t.Setenv("AWS_EC2_METADATA_DISABLED", "")
			t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", broken.URL)
		}, s3mount.Credentials{}, "role of the machine"},
		"nobody at home": {func(string) {
			t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/x")
		}, s3mount.Credentials{}, "refused"},
	} {
		c.set(bare(t))
		f, _ := signedBy(t)
		err := stat(t, newClient(t, &s3mount.Config{Services: []s3mount.Service{{Endpoint: f.URL, Credentials: c.creds}}}))
		if !errors.Is(err, s3mount.ErrCredentials) || !strings.Contains(err.Error(), c.say) || !harmless(err) || f.requests.Load() != 0 {
			t.Errorf("%s: %d requests, %v", name, f.requests.Load(), err)
		}
	}
}

// Credentials that take their time hold up nobody whose context ends, and are
// fetched once for all who wait.
func TestSlowCredentials(t *testing.T) {
	bare(t)
	release := make(chan struct{})
	cloud := newFake(t, func(w http.ResponseWriter, _ *http.Request) {
		<-release
		_ = json.NewEncoder(w).Encode(map[string]any{"AccessKeyId": "late", "SecretAccessKey": "x", "Token": "t", "Expiration": time.Now().Add(time.Hour)})
	})
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", cloud.URL)
	f, key := signedBy(t)
	c := newClient(t, &s3mount.Config{Services: []s3mount.Service{{Endpoint: f.URL}}})
	m := open(t, c, "s3://cars/a")

	var wg sync.WaitGroup
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		wg.Go(func() {
			if _, err := m.Stat(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("who does not wait gets %v", err)
			}
		})
		defer cancel()
		for cloud.requests.Load() == 0 {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}
	wg.Wait()
	for range 20 {
		wg.Go(func() {
			if _, err := m.Stat(t.Context()); err != nil || key() != "late t" {
				t.Errorf("who waits gets %v", err)
			}
		})
	}
	close(release)
	wg.Wait()
	if n := cloud.requests.Load(); n != 1 {
		t.Errorf("credentials were fetched %d times", n)
	}
}

// Keys that a server does not take any more are looked for again, by the next
// request.
func TestKeysThatExpire(t *testing.T) {
	home := bare(t)
	file := filepath.Join(home, ".aws/credentials")
	write(t, file, "[default]\naws_access_key_id = old\naws_secret_access_key = x\n")
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Header.Get("Authorization"), "Credential=old/") {
			refuse(403, "InvalidAccessKeyId")(w, r)
			return
		}
		good(w, r)
	})
	c := newClient(t, &s3mount.Config{Services: []s3mount.Service{{Endpoint: f.URL}}})
	if _, err := read(open(t, c, "s3://cars/a").Open(t.Context())); err == nil {
		t.Error("old keys are taken")
	}
	write(t, file, "[default]\naws_access_key_id = new\naws_secret_access_key = x\n")
	if got, err := read(open(t, c, "s3://cars/a").Open(t.Context())); got != content || err != nil {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if n := f.requests.Load(); n != 2 {
		t.Errorf("%d requests", n)
	}
}

// The environment says where buckets lie, as it does for the AWS tools.
func TestEndpointOfEnvironment(t *testing.T) {
	bare(t)
	f, key := signedBy(t)
	t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
	t.Setenv("AWS_ENDPOINT_URL_S3", f.URL)
	c := newClient(t, &s3mount.Config{Services: []s3mount.Service{{Credentials: s3mount.Credentials{AccessKey: "k", SecretKey: "x"}}}})
	if err := stat(t, c); err != nil || key() != "k " {
		t.Errorf("%v", err)
	}
	t.Setenv("AWS_ENDPOINT_URL_S3", "s3.example.com")
	if _, err := s3mount.New(nil); err == nil {
		t.Error("an endpoint that is none is taken")
	}
}
