package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/shard"
)

// writeJSON writes v. That the client is gone is not our error.
func writeJSON(w io.Writer, v any) {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(v)
}

// badRequest says what is wrong with a request.
func badRequest(format string, args ...any) error {
	return fmt.Errorf("%w: %w", wire.ErrRequest, fmt.Errorf(format, args...))
}

// key is the shard that the path names.
func (c *call) key() (shard.Key, error) {
	key := shard.Key(c.segment("key"))
	return key, key.Validate()
}

// segment is what stands in the path at name, or in the query where that is "-".
func (c *call) segment(name string) string {
	text := c.r.PathValue(name)
	if q := c.r.URL.Query(); text == "-" && q.Has(name) {
		return q.Get(name)
	}
	return text
}

// cid is the CID that the path names.
func (c *call) cid() (cid.Cid, error) {
	id, err := cid.Decode(c.r.PathValue("cid"))
	if err != nil {
		return cid.Undef, badRequest("%q is no CID: %w", c.r.PathValue("cid"), err)
	}
	return id, nil
}

// number is a parameter of the query between least and most.
func (c *call) number(name string, otherwise, least, most int64) (int64, error) {
	text := c.r.URL.Query().Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < least || n > most {
		return 0, badRequest("%s is %q; it is a number from %d to %d", name, text, least, most)
	}
	return n, nil
}

// flag is a parameter of the query that is true or false.
func (c *call) flag(name string, otherwise bool) (bool, error) {
	text := c.r.URL.Query().Get(name)
	if text == "" {
		return otherwise, nil
	}
	b, err := strconv.ParseBool(text)
	if err != nil {
		return false, badRequest("%s is %q; it is true or false", name, text)
	}
	return b, nil
}

// words are the parts of a parameter that commas separate.
func (c *call) words(name string) []string {
	text := c.r.URL.Query().Get(name)
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

// read reads the body as JSON. A body that is not said to be JSON is refused: a
// form of another site could send it.
func (c *call) read(v any) error {
	kind, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil || kind != mimeJSON {
		return fmt.Errorf("%w: %s", wire.ErrMediaType, mimeJSON)
	}
	decoder := json.NewDecoder(c.r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(v); err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok || errors.Is(err, wire.ErrSlow) {
			return err
		}
		return badRequest("the body: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return badRequest("there is more in the body than one value")
	}
	return nil
}

// answer sends v, with the status of the route.
func (c *call) answer(v any) error { return c.answerAs(c.route.success(), v) }

func (c *call) answerAs(status int, v any) error {
	c.began = true
	c.w.Header().Set("Content-Type", mimeJSON)
	c.w.WriteHeader(status)
	writeJSON(c.w, v)
	return nil
}

// nothing answers without a body.
func (c *call) nothing() error {
	c.began = true
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}
