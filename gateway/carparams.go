package gateway

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/ipfs/go-cid"
)

// What of a DAG a CAR has.
const (
	scopeBlock  = "block"
	scopeEntity = "entity"
	scopeAll    = "all"
)

// The orders of a CAR. What is sent is always depth first, which whoever does not
// care takes too.
const (
	orderDFS     = "dfs"
	orderUnknown = "unk"
)

// carParams is what CAR is asked for.
type carParams struct {
	scope string
	part  *entityBytes // of a file; nil: all of it
	order string
	dups  bool
}

// carParamsOf reads the parameters. Those of the query beat those of Accept, the
// best variant of which that there is is taken.
func carParamsOf(query url.Values, variants []map[string]string) (p carParams, err error) {
	p.scope = scopeAll
	if query.Has("dag-scope") {
		switch p.scope = query.Get("dag-scope"); p.scope {
		case scopeBlock, scopeEntity, scopeAll:
		default:
			return p, badParam("dag-scope", p.scope)
		}
	}
	if query.Has("entity-bytes") {
		if p.part, err = parseEntityBytes(query.Get("entity-bytes")); err != nil {
			return p, err
		}
		if p.scope == scopeAll { // a part of an entity is no more than it
			p.scope = scopeEntity
		}
	}
	version, order, dups := query.Get("car-version"), query.Get("car-order"), query.Get("car-dups")
	if !goodVersion(version) {
		return p, badParam("car-version", version)
	}
	if !goodOrder(order) {
		return p, badParam("car-order", order)
	}
	if !goodDups(dups) {
		return p, badParam("car-dups", dups)
	}
	if len(variants) == 0 {
		variants = []map[string]string{nil}
	}
	for _, v := range variants {
		v := map[string]string{
			"version": cmp.Or(version, v["version"]), "order": cmp.Or(order, v["order"]), "dups": cmp.Or(dups, v["dups"]),
		}
		if goodVersion(v["version"]) && goodOrder(v["order"]) && goodDups(v["dups"]) {
			p.order, p.dups = cmp.Or(v["order"], orderDFS), v["dups"] == "y"
			return p, nil
		}
	}
	return p, &statusError{http.StatusNotAcceptable, "no CAR of the kinds that Accept names: version=1, order=dfs and dups=y or n is what there is"}
}

func goodVersion(s string) bool { return s == "" || s == "1" }

func goodOrder(s string) bool { return s == "" || s == orderDFS || s == orderUnknown }

func goodDups(s string) bool { return s == "" || s == "y" || s == "n" }

func badParam(name, value string) error {
	return &statusError{http.StatusBadRequest, fmt.Sprintf("%s cannot be %q", name, shorten(value))}
}

// contentType says what the CAR is.
func (p *carParams) contentType() string {
	dups := "n"
	if p.dups {
		dups = "y"
	}
	return typeOf(formatCAR) + "; version=1; order=" + p.order + "; dups=" + dups
}

// etag is that of the CAR of a path. It is a weak one: another version of this
// program may choose other blocks first.
func (p *carParams) etag(root cid.Cid, path string) string {
	h := fnv.New64a()
	part := ""
	if p.part != nil {
		part = p.part.String()
	}
	// No value has a null byte in it, so that no two lists are one text.
	_, _ = h.Write([]byte(strings.Join([]string{path, p.scope, part, p.order, strconv.FormatBool(p.dups)}, "\x00"))) // it never fails
	return `W/"` + root.String() + ".car." + strconv.FormatUint(h.Sum64(), 32) + `"`
}

// entityBytes is a part of a file, both ends included; negative ones are counted
// from the end of the file.
type entityBytes struct {
	from, to int64
	toEnd    bool
}

// String is the parameter.
func (b *entityBytes) String() string {
	if b.toEnd {
		return strconv.FormatInt(b.from, 10) + ":*"
	}
	return strconv.FormatInt(b.from, 10) + ":" + strconv.FormatInt(b.to, 10)
}

func parseEntityBytes(s string) (*entityBytes, error) {
	first, last, ok := strings.Cut(s, ":")
	if !ok {
		return nil, badParam("entity-bytes", s)
	}
	b := new(entityBytes)
	var err error
	if b.from, err = strconv.ParseInt(first, 10, 64); err != nil {
		return nil, badParam("entity-bytes", s)
	}
	if last == "*" {
		b.toEnd = true
		return b, nil
	}
	if b.to, err = strconv.ParseInt(last, 10, 64); err != nil {
		return nil, badParam("entity-bytes", s)
	}
	return b, nil
}

// of is the part of a file of so many bytes, which may be empty. outside says that
// all that was asked for lies before or behind the file.
func (b *entityBytes) of(size int64) (part span, outside bool) {
	from, to := b.from, b.to
	if from < 0 {
		from += size // which does not overflow: the signs differ
	}
	switch {
	case b.toEnd:
		to = size - 1
	case to < 0:
		to += size
	}
	if from > to && !b.toEnd {
		return span{}, false // it says nothing, wherever it does so
	}
	if from >= size && size > 0 || to < 0 && size > 0 {
		return span{}, true
	}
	from, to = max(from, 0), min(to, size-1)
	if from > to {
		return span{}, false
	}
	return span{from, to - from + 1}, false
}
