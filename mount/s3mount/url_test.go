package s3mount

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/dagstore/dagstore/mount"
)

func TestURLs(t *testing.T) {
	for text, want := range map[string]location{
		"s3://cars/a.car":                         {"cars", "a.car", ""},
		"s3://cars/":                              {"cars", "", ""},
		"s3://cars//":                             {"cars", "/", ""},
		"s3://cars//a//b/":                        {"cars", "/a//b/", ""},
		"s3://cars/../a/./b/..":                   {"cars", "../a/./b/..", ""},
		"s3://cars/two%20words%23%3F%25.car":      {"cars", "two words#?%.car", ""},
		"s3://cars/%2520":                         {"cars", "%20", ""},
		"s3://cars/a+b=c&d;e:f@g":                 {"cars", "a+b=c&d;e:f@g", ""},
		"s3://cars/%C3%BC":                        {"cars", "ü", ""},
		"s3://cars/%00%7F":                        {"cars", "\x00\x7f", ""},
		"s3://Old_Bucket.of.2006/a":               {"Old_Bucket.of.2006", "a", ""},
		"s3://cars/a?versionId=null":              {"cars", "a", "null"},
		"s3://cars/a?versionId=3/L4kqt%2B%26%3D.": {"cars", "a", "3/L4kqt+&=."},
	} {
		got, err := parseURL(text)
		if err != nil || got != want {
			t.Errorf("%q is %+v, %v, not %+v", text, got, err, want)
		}
		again, err := parseURL(got.url())
		if err != nil || again != want || strings.Contains(text, "3/L4") != (got.url() != text) {
			t.Errorf("%q is spelt %q, which is %+v, %v", text, got.url(), again, err)
		}
	}
	for text, want := range map[string]string{ // other spellings
		"s3://cars":                             "s3://cars/",
		"s3://cars/%61%c3%bc ü":                 "s3://cars/a%C3%BC%20%C3%BC",
		"s3://cars/a?versionId=%6e/":            "s3://cars/a?versionId=n%2F",
		"s3://cars/a?versionId=x%2fy":           "s3://cars/a?versionId=x%2Fy",
		"s3://cars/[a]\"<>\\^`{|}":              "s3://cars/%5Ba%5D%22%3C%3E%5C%5E%60%7B%7C%7D",
		"s3://cars/a?versionId=a%20b":           "s3://cars/a?versionId=a%20b",
		"s3://cars/" + strings.Repeat("ü", 512): "s3://cars/" + strings.Repeat("%C3%BC", 512),
	} {
		if got, err := parseURL(text); err != nil || got.url() != want {
			t.Errorf("%q is spelt %q, %v, not %q", text, got.url(), err, want)
		}
	}
}

// What is refused is refused with the reason, and not repeated.
func TestRefusedURLs(t *testing.T) {
	c, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseIdle()
	for text, why := range map[string]string{
		"":                                 "begin",
		"s3:":                              "begin",
		"s3:/cars/MARKER":                  "begin",
		"S3://cars/MARKER":                 "begin",
		"https://cars/MARKER":              "begin",
		"s3://":                            "bucket",
		"s3:///MARKER":                     "bucket",
		"s3://cars":                        "no object",
		"s3://cars/":                       "no object",
		"s3://cars/?versionId=MARKER":      "no object",
		"s3://ab/MARKER":                   "bucket",
		"s3://ca rs/MARKER":                "bucket",
		"s3://c%61rs/MARKER":               "bucket",
		"s3://.cars/MARKER":                "bucket",
		"s3://cars./MARKER":                "bucket",
		"s3://ca..rs/MARKER":               "bucket",
		"s3://[::1]/MARKER":                "endpoint",
		"s3://127.0.0.1:7070/MARKER":       "endpoint",
		"s3://key@cars/MARKER":             "credentials",
		"s3://key:MARKER@cars/a":           "credentials",
		"s3://key:MAR/KER@cars/a":          "endpoint",
		"s3://cars/a#MARKER":               "%23",
		"s3://cars/MARKER%":                "escape",
		"s3://cars/MARKER%2":               "escape",
		"s3://cars/MARKER%zz":              "escape",
		"s3://cars/a%2FMARKER":             "slash",
		"s3://cars/%FFMARKER":              "UTF-8",
		"s3://cars/\xffMARKER":             "UTF-8",
		"s3://cars/MARKER%ED%A0%80":        "UTF-8",
		"s3://cars/?" + "MARKER":           "%3F",
		"s3://cars/a?":                     "%3F",
		"s3://cars/a?versionid=MARKER":     "%3F",
		"s3://cars/a?versionId=1&x=MARKER": "%3F",
		"s3://cars/a?region=MARKER":        "%3F",
		"s3://cars/a?versionId=":           "version",
		"s3://cars/a?versionId":            "version",
		"s3://cars/a?versionId=%MARKER":    "escape",
		"s3://cars/MARKER" + strings.Repeat("x", 1019):                                   "1024",
		"s3://cars/a?versionId=MARKER" + strings.Repeat("x", 1019):                       "1024",
		"s3://cars/a?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=MARKER":            "in advance",
		"s3://cars/a?AWSAccessKeyId=k&Signature=MARKER&Expires=1":                        "in advance",
		"s3://cars/a?versionId=1&x-amz-security-token=MARKER":                            "in advance",
		"s3://cars/a?X-Amz-Credential=MARKER%2F20260504%2Fus-east-1%2Fs3%2Faws4_request": "in advance",
	} {
		m, err := c.Open(text)
		if m != nil || !errors.Is(err, mount.ErrURL) || strings.Contains(err.Error(), "MARKER") || !strings.Contains(err.Error(), why) {
			t.Errorf("%q gives %v, %v; the reason has %q", text, m, err, why)
		}
	}
}

func FuzzURL(f *testing.F) {
	for _, s := range []string{"s3://cars/a.car", "s3://cars/%C3%BC//../ ?versionId=a%2fb", "s3://k:s@cars/a", "s3://cars/a?X-Amz-Signature=x", "s3://a-b.c_d/%00%25"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		at, err := parseURL(s)
		if err != nil {
			if !errors.Is(err, mount.ErrURL) {
				t.Fatalf("%q gives %v", s, err)
			}
			return
		}
		if !isBucket(at.bucket) || len(at.key) > mostKey || !utf8.ValidString(at.key) {
			t.Fatalf("%q is %+v", s, at)
		}
		text := at.url()
		if again, err := parseURL(text); err != nil || again != at || again.url() != text {
			t.Fatalf("%q is %+v, spelt %q, which is %+v, %v", s, at, text, again, err)
		}
		// Others read the same in it, and the server what we mean.
		u, err := url.Parse(text)
		if err != nil || u.Host != at.bucket || u.Path != "/"+at.key || u.User != nil || u.Fragment != "" || u.Query().Get("versionId") != at.version {
			t.Fatalf("%+v is spelt %q, which is %+v, %v", at, text, u, err)
		}
		set, err := Service{Endpoint: "http://127.0.0.1:1", Region: "x"}.resolve()
		if err != nil {
			t.Fatal(err)
		}
		sent, err := url.Parse((&server{settings: set}).target(request{bucket: at.bucket, key: at.key}, "x").String())
		if err != nil || sent.Host != "127.0.0.1:1" || sent.Path != "/"+at.bucket+"/"+at.key {
			t.Fatalf("%+v is sent to %v, %v", at, sent, err)
		}
	})
}

func TestTargets(t *testing.T) {
	for _, name := range []string{"AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION"} {
		t.Setenv(name, "")
	}
	for _, c := range []struct {
		b                   Service
		bucket, key, region string
		want                string
	}{
		{Service{}, "cars", "a", "us-east-1", "https://cars.s3.us-east-1.amazonaws.com/a"},
		{Service{}, "cars", "", "us-east-1", "https://cars.s3.us-east-1.amazonaws.com/"},
		{Service{}, "cars", "a", "cn-north-1", "https://cars.s3.cn-north-1.amazonaws.com.cn/a"},
		{Service{}, "my.cars", "a", "eu-west-1", "https://s3.eu-west-1.amazonaws.com/my.cars/a"},
		{Service{}, "Cars", "a", "us-east-1", "https://s3.us-east-1.amazonaws.com/Cars/a"},
		{Service{}, "my_cars", "a", "us-east-1", "https://s3.us-east-1.amazonaws.com/my_cars/a"},
		{Service{Addressing: InPath}, "cars", "a", "us-east-1", "https://s3.us-east-1.amazonaws.com/cars/a"},
		{Service{Endpoint: "http://localhost:9000"}, "cars", "a", "x", "http://localhost:9000/cars/a"},
		{Service{Endpoint: "https://S3.Example.com:443/"}, "cars", "a", "x", "https://s3.example.com/cars/a"},
		{Service{Endpoint: "https://s3.example.com:8443", Addressing: InHost}, "cars", "a", "x", "https://cars.s3.example.com:8443/a"},
		{Service{Endpoint: "http://[::1]:80"}, "cars", "a", "x", "http://[::1]/cars/a"},
		{Service{Endpoint: "http://h", Buckets: []string{"cars"}, Name: "other"}, "cars", "a", "x", "http://h/other/a"},
		{Service{Endpoint: "http://h"}, "cars", "/a//../b c+%ü", "x", "http://h/cars//a//../b%20c%2B%25%C3%BC"},
		{Service{}, "cars", "/a", "us-east-1", "https://cars.s3.us-east-1.amazonaws.com//a"},
	} {
		set, err := c.b.resolve()
		if err != nil {
			t.Error(err)
			continue
		}
		if got := (&server{settings: set}).target(request{bucket: c.bucket, key: c.key}, c.region).String(); got != c.want {
			t.Errorf("%+v, %s, %q is asked for at %s, not %s", c.b, c.bucket, c.key, got, c.want)
		}
	}
}
