package denylist

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	"golang.org/x/net/idna"
)

// A space is what a rule is about. It is a part of every key, so that a rule
// on a name never hits a CID.
type space byte

const (
	blocks  space = 'b' // the subject is a multihash below /ipfs
	keys    space = 'k' // a multihash below /ipns
	domains space = 'd' // a domain below /ipns
	modern  space = 'm' // the multihash of what is not named
	legacy  space = 'l' // SHA2-256 of what is not named, in the older form
)

// A rule is one line, taken apart.
type rule struct {
	space   space
	subject string // binary multihash, domain or digest
	path    string // without slashes at its ends
	prefix  bool   // all paths that begin with path
	allow   bool
	status  int // by a hint; 0: as the list says
}

var errRule = errors.New("it is no rule")

// parseRule reads a line that is neither empty nor a comment. It may return
// several rules: of a hash that can be read in two ways both are meant. An
// error beside rules says what of the line was passed over.
func parseRule(line string) ([]rule, error) {
	if !utf8.ValidString(line) {
		return nil, fmt.Errorf("%w: %.80q is not UTF-8", errRule, line)
	}
	fields := strings.Fields(line)
	if len(fields) == 0 {
		return nil, fmt.Errorf("%w: it is empty", errRule)
	}
	item, allow := strings.CutPrefix(fields[0], "!")
	rules, err := parseItem(item)
	if err != nil {
		return nil, err
	}
	status, err := parseHints(fields[1:])
	for i := range rules {
		rules[i].allow, rules[i].status = allow, status
	}
	return rules, err
}

// parseHints returns the status that hints ask for, or 0. What is no hint is
// told of, and takes nothing from the rule.
func parseHints(hints []string) (status int, err error) {
	for _, hint := range hints {
		name, value, ok := strings.Cut(hint, ":")
		if !ok || name == "" {
			err = fmt.Errorf("%.40q is no hint; a space in a path is written %%20", hint)
			continue
		}
		if name == hintStatus {
			status, err = parseStatus(value)
		}
	}
	return status, err
}

// hintStatus is the hint that gateways know: the status of the answer.
const hintStatus = "gateway_status"

func parseStatus(value string) (int, error) {
	switch value {
	case "410":
		return http.StatusGone, nil
	case "451":
		return http.StatusUnavailableForLegalReasons, nil
	}
	return 0, fmt.Errorf("%s is %.10q, not 410 or 451", hintStatus, value)
}

func parseItem(item string) ([]rule, error) {
	if rest, ok := strings.CutPrefix(item, "//"); ok {
		return parseHashed(rest)
	}
	var r rule
	var err error
	rest, isName := strings.CutPrefix(item, "/ipns/")
	if !isName {
		var ok bool
		if rest, ok = strings.CutPrefix(item, "/ipfs/"); !ok {
			return nil, fmt.Errorf("%w: %.80q begins with none of /ipfs/, /ipns/ and //", errRule, item)
		}
	}
	subject, path, _ := strings.Cut(rest, "/")
	if isName {
		r.space, r.subject, err = parseName(subject)
	} else {
		r.space = blocks
		r.subject, err = parseSubject(subject)
	}
	if err != nil {
		return nil, err
	}
	if path, r.prefix = strings.CutSuffix(path, "*"); r.prefix {
		path = strings.TrimSuffix(path, "/")
	}
	if path, err = url.PathUnescape(path); err != nil {
		return nil, fmt.Errorf("%w: %w", errRule, err)
	}
	r.path = cleanPath(path)
	return []rule{r}, nil
}

// parseSubject returns the multihash of a CID, or one that stands for itself.
func parseSubject(text string) (string, error) {
	c, err := cid.Decode(text)
	if err == nil {
		return string(c.Hash()), nil
	}
	if hash, hashErr := multihash.FromB58String(text); hashErr == nil {
		return string(hash), nil
	}
	return "", fmt.Errorf("%w: %.80q is no CID: %w", errRule, text, err)
}

// parseName tells keys from domains.
func parseName(name string) (space, string, error) {
	if hash, err := parseSubject(name); err == nil {
		return keys, hash, nil
	}
	domain := cleanDomain(name)
	if domain == "" {
		return 0, "", fmt.Errorf("%w: there is no name", errRule)
	}
	return domains, domain, nil
}

// domainNames writes domains in the letters of the DNS, as those do who resolve them.
var domainNames = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false))

// dots are those of other scripts, which are as good as ".".
var dots = strings.NewReplacer("\u3002", ".", "\uff0e", ".", "\uff61", ".")

// cleanDomain gives the different spellings of a domain one form: small letters of
// the DNS ("xn--" where it has others), and no dot at its end. A name without
// dots is one of a subdomain gateway, in which dots are dashes.
func cleanDomain(name string) string {
	foreign := strings.ContainsFunc(name, func(r rune) bool { return r >= utf8.RuneSelf })
	if foreign {
		name = dots.Replace(name)
	}
	name = strings.TrimRight(strings.ToLower(name), ".")
	if !strings.Contains(name, ".") && strings.Contains(name, "-") {
		const dash = "\x00" // in no name
		name = strings.ReplaceAll(name, "--", dash)
		name = strings.ReplaceAll(name, "-", ".")
		name = strings.ReplaceAll(name, dash, "-")
	}
	if foreign {
		if ascii, err := domainNames.ToASCII(name); err == nil {
			name = ascii
		}
	}
	return name
}

// cleanPath leaves out empty parts of a path, as its resolution does.
func cleanPath(path string) string {
	if !strings.HasPrefix(path, "/") && !strings.HasSuffix(path, "/") && !strings.Contains(path, "//") {
		return path
	}
	var b strings.Builder
	for part := range strings.SplitSeq(path, "/") {
		if part == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('/')
		}
		b.WriteString(part)
	}
	return b.String()
}

// parseHashed reads what follows "//".
func parseHashed(text string) ([]rule, error) {
	var rules []rule
	if digest, err := hex.DecodeString(text); err == nil && len(digest) == 32 {
		rules = append(rules, rule{space: legacy, subject: string(digest)})
		if strings.Contains(text, "0") {
			return rules, nil // base58btc has no zero
		}
	}
	hash, err := multihash.FromB58String(text)
	if err == nil {
		if err = checkFunction(hash); err == nil {
			rules = append(rules, rule{space: modern, subject: string(hash)})
		}
	}
	if len(rules) == 0 {
		return nil, fmt.Errorf("%w: %.80q is neither a multihash in base58btc nor 64 hexadecimal digits: %w", errRule, text, err)
	}
	return rules, nil
}

// checkFunction refuses what nothing can be compared with.
func checkFunction(hash multihash.Multihash) error {
	f, err := functionOf(hash)
	if err != nil {
		return err
	}
	if f.code == multihash.IDENTITY {
		return errors.New("an identity hides nothing")
	}
	_, err = multihash.Sum(nil, f.code, f.length)
	return err
}

// A function is a hash function with the length of its digests.
type function struct {
	code   uint64
	length int
}

func functionOf(hash multihash.Multihash) (function, error) {
	d, err := multihash.Decode(hash)
	if err != nil {
		return function{}, err
	}
	return function{d.Code, d.Length}, nil
}
