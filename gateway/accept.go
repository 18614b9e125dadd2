package gateway

import (
	"cmp"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// The formats that content can be asked for in, as ?format= names them. What has
// no name is a file or a folder, as a browser shows it.
const (
	formatWeb     = ""
	formatRaw     = "raw"
	formatCAR     = "car"
	formatTAR     = "tar"
	formatJSON    = "json"
	formatCBOR    = "cbor"
	formatDAGJSON = "dag-json"
	formatDAGCBOR = "dag-cbor"
	formatRecord  = "ipns-record"
)

// typeOf is the media type of a format, or nothing.
func typeOf(format string) string {
	switch format {
	case formatRaw:
		return "application/vnd.ipld.raw"
	case formatCAR:
		return "application/vnd.ipld.car"
	case formatTAR:
		return "application/x-tar"
	case formatJSON:
		return "application/json"
	case formatCBOR:
		return "application/cbor"
	case formatDAGJSON:
		return "application/vnd.ipld.dag-json"
	case formatDAGCBOR:
		return "application/vnd.ipld.dag-cbor"
	case formatRecord:
		return "application/vnd.ipfs.ipns-record"
	}
	return ""
}

// formatOf is the format of a media type, or nothing.
func formatOf(mediaType string) string {
	for _, format := range []string{
		formatRaw, formatCAR, formatTAR, formatJSON, formatCBOR, formatDAGJSON, formatDAGCBOR, formatRecord,
	} {
		if typeOf(format) == mediaType {
			return format
		}
	}
	return ""
}

// A wish is what a request asks for.
type wish struct {
	format string
	params []map[string]string // of the media types of that format, the best first
	header bool                // the format comes from the Accept header alone
	other  bool                // the Accept header says something else
	web    bool                // a file or a folder would do
	less   string              // a format that would do as well, but less than a file
	none   bool                // the request says nothing about it
}

// trustless says whether the client can check the answer by itself.
func (w *wish) trustless() bool {
	return w.format == formatRaw || w.format == formatCAR || w.format == formatRecord
}

// wishOf reads ?format=, which beats the Accept header, and that.
func wishOf(query url.Values, header http.Header) (wish, error) {
	accept := header.Values("Accept")
	named := query.Get("format")
	if named != "" && typeOf(named) == "" {
		return wish{}, &statusError{http.StatusBadRequest, fmt.Sprintf("there is no format %q", named)}
	}
	if len(accept) == 0 || named != "" && len(accept) == 1 && (accept[0] == "*/*" || accept[0] == typeOf(named)) {
		return wish{format: named, none: named == ""}, nil
	}
	types, err := parseAccept(accept)
	switch {
	case err != nil && named == "":
		return wish{}, err
	case named == "":
		return pick(types)
	}
	meant, _ := pick(types) // what cannot be is not what is given
	w := wish{format: named, params: paramsOf(types, named), other: meant.format != "" && meant.format != named}
	if named == formatCAR && len(w.params) > 0 && len(w.params[0]) > 0 {
		w.other = w.other || query.Has("car-version") || query.Has("car-order") || query.Has("car-dups")
	}
	return w, nil
}

// pick takes the best of the media types. Of two that are as good the one that
// names a format of ours is meant: browsers name none.
func pick(types []mediaType) (wish, error) {
	w := wish{none: true}
	var odd string
	for _, t := range types {
		switch format := formatOf(t.name); {
		case format != "" && w.format == "":
			if w.web && t.q < webQ(types) {
				w.less = cmp.Or(w.less, format)
				continue
			}
			w.format, w.header, w.none = format, true, false
			w.params = paramsOf(types, format)
		case format != "":
		case strings.HasPrefix(t.name, "application/vnd.ipld.") || strings.HasPrefix(t.name, "application/vnd.ipfs."):
			odd = cmp.Or(odd, t.name)
		default:
			w.web = true
			w.none = w.none && t.name == "*/*"
		}
	}
	if w.format == "" && !w.web && odd != "" {
		return w, &statusError{http.StatusNotAcceptable, fmt.Sprintf("there is no format for %q", odd)}
	}
	return w, nil
}

// webQ is how much a file or a folder is wanted.
func webQ(types []mediaType) float64 {
	for _, t := range types {
		if formatOf(t.name) == "" && !strings.HasPrefix(t.name, "application/vnd.ip") {
			return t.q
		}
	}
	return 0
}

func paramsOf(types []mediaType, format string) (all []map[string]string) {
	for _, t := range types {
		if t.name == typeOf(format) {
			all = append(all, t.params)
		}
	}
	return all
}

// A mediaType is one element of an Accept header.
type mediaType struct {
	name   string
	params map[string]string
	q      float64
}

// maxTypes is how many media types of an Accept header are looked at.
const maxTypes = 64

// parseAccept returns the media types of Accept headers, the best first and
// equals as they came, without those that are refused.
func parseAccept(headers []string) ([]mediaType, error) {
	var types []mediaType
	for _, header := range headers {
		for value := range strings.SplitSeq(header, ",") {
			if value = strings.TrimSpace(value); value == "" {
				continue
			}
			if len(types) == maxTypes {
				return nil, &statusError{http.StatusBadRequest, "too many media types in Accept"}
			}
			t, err := parseType(value)
			if err != nil {
				return nil, err
			}
			types = append(types, t)
		}
	}
	slices.SortStableFunc(types, func(a, b mediaType) int { return cmp.Compare(b.q, a.q) })
	return slices.DeleteFunc(types, func(t mediaType) bool { return t.q == 0 }), nil
}

func parseType(value string) (mediaType, error) {
	name, params, err := mime.ParseMediaType(value)
	if err != nil {
		if !strings.HasPrefix(value, "application/vnd.ip") {
			return mediaType{name: "*/*", q: 1}, nil // no business of ours
		}
		return mediaType{}, &statusError{http.StatusBadRequest, fmt.Sprintf("Accept cannot be read at %q", value)}
	}
	t := mediaType{name: name, params: params, q: 1}
	if text, ok := params["q"]; ok {
		delete(params, "q")
		if q, err := strconv.ParseFloat(text, 64); err == nil && q >= 0 && q <= 1 {
			t.q = q
		}
	}
	return t, nil
}
