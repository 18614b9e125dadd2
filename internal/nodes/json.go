package nodes

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"

	"github.com/ipfs/go-cid"
)

// jsonLinks appends the links of a dag-json block: maps with the one key "/", and
// text behind it.
func jsonLinks(dst []cid.Cid, b []byte) ([]cid.Cid, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	depth, begun := 0, false
	var slash [2]json.Token // the two tokens before this one
	var text string         // behind {"/":
	for {
		t, err := d.Token()
		switch {
		case errors.Is(err, io.EOF) && depth == 0 && begun:
			return dst, nil
		case err != nil:
			return dst, broken("bad JSON: %v", err)
		}
		begun = true
		switch t {
		case json.Delim('{'), json.Delim('['):
			if depth++; depth == maxDepth {
				return dst, broken("JSON that is too deep")
			}
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if t == json.Delim('}') && text != "" {
			c, err := cid.Decode(text)
			if err != nil {
				return dst, broken("a link that is no CID: %v", err)
			}
			dst = append(dst, c)
		}
		text = ""
		if s, ok := t.(string); ok && slash[0] == json.Delim('{') && slash[1] == "/" {
			text = s
		}
		slash[0], slash[1] = slash[1], t
		if depth == 0 && d.More() {
			return dst, broken("more than one JSON value")
		}
	}
}
