package denylist

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
)

// specified are the rules of the example of IPIP-383, and those of the list
// with which its implementations are tested where they differ.
const specified = `version: 1
name: Example IPFSCorp blocking list
description: A collection of bad things we have found in the universe
author: abuse-ipfscorp@example.com
hints:
  hint: value
  hint2: value2
---
# By multihash
/ipfs/bafybeihvvulpp4evxj7x7armbqcyg6uezzuig6jp3lktpbovlqfkuqeuoq

/ipfs/QmdWFA9FL52hx3j9EJZPQP1ZUH8Ygi5tLCX2cRDs6knSf8/*
/ipfs/Qmah2YDTfrox4watLCr3YgKyBwvjq8FJZEFdWY6WtJ3Xt2/test*
/ipfs/QmTuvSQbEDR3sarFAN9kAeXBpiBCyYYNxdxciazBba11eC/test/*

/ipfs/QmUboz9UsQBDeS6Tug1U8jgoFkgYxyYood9NDyVURAY9pK/blocked*
!/ipfs/QmUboz9UsQBDeS6Tug1U8jgoFkgYxyYood9NDyVURAY9pK/blockednot
!/ipfs/QmUboz9UsQBDeS6Tug1U8jgoFkgYxyYood9NDyVURAY9pK/blocked/not
!/ipfs/QmUboz9UsQBDeS6Tug1U8jgoFkgYxyYood9NDyVURAY9pK/blocked/exceptions*

/ipns/domain.example
/ipns/domain2.example/path
/ipns/k51qzi5uqu5dhmzyv3zac033i7rl9hkgczxyl81lwoukda2htteop7d3x0y1mf

# Hidden: SHA2-256 of QmVTF1yEejXd9iMgoRTFDxBv7HAz9kuZcQNBzHrceuK9HR
//QmX9dhRcQcKUw3Ws8485T5a9dtjrSCQaUAHnG4iK9i4ceM
# SHA2-256 of gW7Nhu4HrfDtphEivm3Z9NNE7gpdh5Tga8g6JNZc1S8E47/path
//QmbK7LDv5NNBvYQzNfm2eED17SNLt1yNMapcUhSuNLgkqz
# SHA2-256 of QmecDgNqCRirkc3Cjz9eoRBNwXGckJ9WvTdmY16HP88768/my/path
//QmSju6XPmYLG611rmK7rEeCMFVuL6EHpqyvmEU6oGx3GR8

# Hidden in the older form: bafybeiefwq...42e/, bad-domain-name.tld/ and bafybeiefwq...42e/path
//d9d295bde21f422d471a90f2a37ec53049fdf3e5fa3ee2e8f20e10003da429e7
//c555c4de78827ba42527dd3dc5398db38d6c0a8c345a88e0158b2d100f317e50
//3f8b9febd851873b3774b937cce126910699ceac56e72e64b866f8e258d09572

/ipfs/QmecDgNqCRirkc3Cjz9eoRBNwXGckJ9WvTdmY16HP88768/photo*
!/ipfs/QmecDgNqCRirkc3Cjz9eoRBNwXGckJ9WvTdmY16HP88768/photo123.jpg
!/ipns/my.domain
/ipns/my.domain
`

// TestSpecification: the answers are those that the specification gives, and
// that the tester of its authors wants.
func TestSpecification(t *testing.T) {
	set := NewSet(mustParse(t, specified))
	const (
		five  = "/ipfs/QmUboz9UsQBDeS6Tug1U8jgoFkgYxyYood9NDyVURAY9pK"
		old   = "/ipfs/bafybeiefwqslmf6zyyrxodaxx4vwqircuxpza5ri45ws3y5a62ypxti42e"
		blake = "/ipfs/bafyb4ieqht3b2rssdmc7sjv2cy2gfdilxkfh7623nvndziyqnawkmo266a"
		photo = "/ipfs/QmecDgNqCRirkc3Cjz9eoRBNwXGckJ9WvTdmY16HP88768"
	)
	for path, denied := range map[string]bool{
		"/ipfs/bafybeihvvulpp4evxj7x7armbqcyg6uezzuig6jp3lktpbovlqfkuqeuoq":      true,
		"/ipfs/bafkreihvvulpp4evxj7x7armbqcyg6uezzuig6jp3lktpbovlqfkuqeuoq":      true, // another codec
		"/ipfs/QmesfgDQ3q6prBy2Kg2gKbW4MAGuWiRP2DVuGA5MZSERLo":                   true,
		"/ipfs/bafybeihvvulpp4evxj7x7armbqcyg6uezzuig6jp3lktpbovlqfkuqeuoq/sub2": false,
		"/ipfs/QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn":                   false,
		"/ipfs/bafkqaaa": false,

		"/ipfs/QmdWFA9FL52hx3j9EJZPQP1ZUH8Ygi5tLCX2cRDs6knSf8":     true,
		"/ipfs/QmdWFA9FL52hx3j9EJZPQP1ZUH8Ygi5tLCX2cRDs6knSf8/a/b": true,
		"/ipfs/QmdWFA9FL52hx3j9EJZPQP1ZUH8Ygi5tLCX2cRDs6knSf8/z/":  true,

		"/ipfs/Qmah2YDTfrox4watLCr3YgKyBwvjq8FJZEFdWY6WtJ3Xt2/test":     true,
		"/ipfs/Qmah2YDTfrox4watLCr3YgKyBwvjq8FJZEFdWY6WtJ3Xt2/test2":    true,
		"/ipfs/Qmah2YDTfrox4watLCr3YgKyBwvjq8FJZEFdWY6WtJ3Xt2/test/one": true,
		"/ipfs/Qmah2YDTfrox4watLCr3YgKyBwvjq8FJZEFdWY6WtJ3Xt2/tes":      false,
		"/ipfs/Qmah2YDTfrox4watLCr3YgKyBwvjq8FJZEFdWY6WtJ3Xt2":          false,
		"/ipfs/Qmah2YDTfrox4watLCr3YgKyBwvjq8FJZEFdWY6WtJ3Xt2/one/test": false,
		"/ipfs/QmTuvSQbEDR3sarFAN9kAeXBpiBCyYYNxdxciazBba11eC/test":     true,
		"/ipfs/QmTuvSQbEDR3sarFAN9kAeXBpiBCyYYNxdxciazBba11eC/test2":    true,
		"/ipfs/QmTuvSQbEDR3sarFAN9kAeXBpiBCyYYNxdxciazBba11eC/test/one": true,
		"/ipfs/QmTuvSQbEDR3sarFAN9kAeXBpiBCyYYNxdxciazBba11eC":          false,

		five: false, five + "/blocked": true, five + "/blocked2": true, five + "/blockednot": false, five + "/blocked/not": false,
		five + "/blocked/exceptions": false, five + "/blocked/exceptions2": false, five + "/blocked/exceptions/one": false,

		"/ipns/domain.example": true, "/ipns/DOMAIN.example.": true, "/ipns/domain-example": true,
		"/ipns/domain.example/path": false, "/ipns/domain--example": false, "/ipns/domainaefa.example": false,
		"/ipns/domain2.example/path": true, "/ipns/domain2.example": false, "/ipns/domain2.example/path2": false,
		"/ipns/k51qzi5uqu5dhmzyv3zac033i7rl9hkgczxyl81lwoukda2htteop7d3x0y1mf":         true,
		"/ipns/bafzaajaiaejcaotjfs57kieazxny5japcmy5p2pgv2cic77tu6ogghttvurnrufx":      true,
		"/ipns/12D3KooWDkNqEJNmreF3NYYFK1ws7Ra2fuW6cHBTu567SPV3LdYA":                   true,
		"/ipns/12D3KooWDkNqEJNmreF3NYYFK1ws7Ra2fuW6cHBTu567SPV3LdYA/path":              false,
		"/ipfs/bafzaajaiaejcaotjfs57kieazxny5japcmy5p2pgv2cic77tu6ogghttvurnrufx":      false, // the key, not what it names
		"/ipns/bafybeihvvulpp4evxj7x7armbqcyg6uezzuig6jp3lktpbovlqfkuqeuoq":            false, // and the other way
		"/ipfs/bafybeidjwik6im54nrpfg7osdvmx7zojl5oaxqel5cmsz46iuelwf5acja":            true,
		"/ipfs/QmVTF1yEejXd9iMgoRTFDxBv7HAz9kuZcQNBzHrceuK9HR":                         true,
		"/ipfs/bafybeihrw75yfhdx5qsqgesdnxejtjybscwuclpusvxkuttep6h7pkgmze/my/path":    true,
		"/ipfs/bafybeihrw75yfhdx5qsqgesdnxejtjybscwuclpusvxkuttep6h7pkgmze/my/path2":   false,
		"/ipfs/bafybeihrw75yfhdx5qsqgesdnxejtjybscwuclpusvxkuttep6h7pkgmze//my//path/": true,

		blake: false, blake + "/path": true, blake + "/path2": false,
		"/ipfs/f01701e20903cf61d46521b05f926ba1634628d0bba8a7ffb5b6d5a3ca310682ca63b5ef0/path": true,

		old: true, old + "/": true, old + "/path": true, old + "/path2": false,
		"/ipfs/bafkreiefwqslmf6zyyrxodaxx4vwqircuxpza5ri45ws3y5a62ypxti42e": false, // the older form is about one CID
		"/ipns/bad-domain-name.tld":                                         true,

		photo + "/photo": true, photo + "/photo9": true, photo + "/photo123.jpg": false, photo: false,
		"/ipns/my.domain": true,
	} {
		if m := ask(t, set, path); m.Denies() != denied {
			t.Errorf("%s: denied is %v by line %d, want %v", path, m.Denies(), m.Line, denied)
		}
	}
}

// mustParse parses a list without problems.
func mustParse(t testing.TB, text string) *List {
	t.Helper()
	l, problems, err := Parse("test.deny", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("line %d: %v", p.Line, p.Err)
	}
	return l
}

// ask looks a content path up.
func ask(t testing.TB, set *Set, path string) Match {
	t.Helper()
	m := set.Content(path)
	root, below, _ := strings.Cut(strings.TrimPrefix(path, "/ipfs/"), "/")
	if c, err := cid.Decode(root); err == nil && below == "" {
		if b := set.Block(c); b != m {
			t.Errorf("%s: %v as a path, %v as a block", path, m, b)
		}
	}
	return m
}

// TestDomains: a domain is denied however it is written.
func TestDomains(t *testing.T) {
	spellings := []string{
		"b\u00fccher.example", "B\u00dcCHER.example", "xn--bcher-kva.example", "XN--BCHER-KVA.Example.", "b\u00fccher.example..", "b\u00fccher\u3002example",
		"bu\u0308cher.example", "xn----bcher--kva-example", "\uff42\u00fccher.example",
	}
	modern, err := multihash.Sum([]byte("/ipns/b\u00fccher.example"), multihash.SHA2_256, -1)
	if err != nil {
		t.Fatal(err)
	}
	legacy := sha256.Sum256([]byte("b\u00fccher.example/"))
	rules := []string{"//" + modern.B58String(), "//" + hex.EncodeToString(legacy[:])}
	for _, name := range spellings {
		rules = append(rules, "/ipns/"+name)
	}
	for _, rule := range rules {
		set := NewSet(mustParse(t, rule+"\n"))
		for _, name := range spellings {
			if m := set.Content("/ipns/" + name + "/"); !m.Denies() {
				t.Errorf("%s does not deny %q", rule, name)
			}
		}
		for _, name := range []string{"bucher.example", "b\u00fccher.example.org", "xn--bcher-kva", ""} {
			if m := set.Content("/ipns/" + name); m.Denies() {
				t.Errorf("%s denies %q", rule, name)
			}
		}
	}
}

// TestBlake3: the example hides a path by BLAKE3, too.
func TestBlake3(t *testing.T) {
	set := NewSet(mustParse(t, "//gW813G35CnLsy7gRYYHuf63hrz71U1xoLFDVeV7actx6oX\n"))
	const blake = "/ipfs/bafyb4ieqht3b2rssdmc7sjv2cy2gfdilxkfh7623nvndziyqnawkmo266a"
	if !ask(t, set, blake+"/path").Denies() || ask(t, set, blake+"/path2").Denies() {
		t.Error("not as the example says")
	}
}

func TestHeader(t *testing.T) {
	l := mustParse(t, specified)
	if l.Header.Name != "Example IPFSCorp blocking list" || l.Header.Author != "abuse-ipfscorp@example.com" || l.Header.Status != http.StatusGone {
		t.Errorf("%+v", l.Header)
	}
	if l := mustParse(t, "---\n/ipfs/bafkqaaa\n"); l.Rules != 1 {
		t.Errorf("an empty header: %+v", l)
	}
	if l := mustParse(t, "unknown: {a: [1]}\nversion: 1\n--- \r\n/ipfs/bafkqaaa\r\n"); l.Rules != 1 {
		t.Errorf("fields that are not known: %+v", l)
	}
}

// TestStatus: a hint of a rule goes before one of the list.
func TestStatus(t *testing.T) {
	const name = "/ipns/a.example"
	for text, want := range map[string]int{
		name:                                 410,
		name + " gateway_status:451 other:x": 451,
		"hints:\n  gateway_status: 451\n---\n" + name:                          451,
		"hints:\n  gateway_status: '451'\n---\n" + name:                        451,
		"hints:\n  gateway_status: 451\n---\n" + name + " gateway_status:410":  410,
		"hints:\n  gateway_status: 410\n---\n" + name + "\tgateway_status:451": 451,
	} {
		if m := NewSet(mustParse(t, text)).Name("a.example", ""); m.Status != want || !m.Denies() {
			t.Errorf("%q: %+v, want %d", text, m, want)
		}
	}
}

// TestLists: a rule of a later list goes before one of an earlier list.
func TestLists(t *testing.T) {
	deny, allow := mustParse(t, "# a line\n/ipns/a.example\n"), mustParse(t, "!/ipns/a.example\n")
	if m := NewSet(deny, allow).Name("a.example", ""); m.Denies() || m.Line != 1 {
		t.Errorf("%+v", m)
	}
	if m := NewSet(allow, deny).Name("a.example", ""); !m.Denies() || m.Line != 2 {
		t.Errorf("%+v", m)
	}
	if m := new(Set).Name("a.example", ""); m.Denies() {
		t.Errorf("%+v", m)
	}
}
