package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/ipfs/boxo/ipns"
)

// maxRecord is how long a record may be, by the specification of IPNS.
const maxRecord = 10 << 10

// records fetches the signed records of keys from another gateway. It has to be believed
// in nothing but that there is no newer one.
type records struct {
	base    string
	client  *http.Client
	timeout time.Duration
	known   *answers[[]byte]
}

func (r *records) find(ctx context.Context, key string) (record []byte, ttl time.Duration, err error) {
	name, err := ipns.NameFromString(key)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrNoName, err)
	}
	return r.known.get(ctx, name.String(), r.timeout, func(ctx context.Context, before []byte) ([]byte, time.Duration, error) {
		raw, err := r.fetch(ctx, name)
		return newest(name, before, raw, err)
	})
}

// newest is the record to be followed: what came, unless it is older than what was
// known, is not good, or did not come. One that was good before is so until it ends.
func newest(name ipns.Name, before, raw []byte, err error) ([]byte, time.Duration, error) {
	was, good := goodRecord(name, before)
	if err != nil {
		if good && !errors.Is(err, ErrNoName) {
			return before, absence, nil // the other gateway is asked again soon
		}
		return before, 0, err
	}
	came, ok := goodRecord(name, raw)
	switch {
	case !ok && good:
		return before, absence, nil
	case !ok:
		return raw, absence, nil // who follows it looks at it, and tells what is wrong
	}
	if good {
		if best, err := (ipns.Validator{}).Select(string(name.RoutingKey()), [][]byte{raw, before}); err == nil && best == 1 {
			raw, came = before, was
		}
	}
	ttl, err := came.TTL()
	if err != nil {
		ttl = 0 // it does not say
	}
	if end, err := came.Validity(); err == nil {
		ttl = min(ttl, time.Until(end))
	}
	return raw, max(ttl, 0), nil
}

// goodRecord reads a record that is signed by the key and has not ended.
func goodRecord(name ipns.Name, raw []byte) (*ipns.Record, bool) {
	if len(raw) == 0 {
		return nil, false
	}
	record, err := ipns.UnmarshalRecord(raw)
	if err != nil || ipns.ValidateWithName(record, name) != nil {
		return nil, false
	}
	return record, true
}

// fetch asks the other gateway.
func (r *records) fetch(ctx context.Context, name ipns.Name) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.base+"/ipns/"+name.String()+"?format=ipns-record", nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", typeOf(formatRecord))
	request.Header.Set("User-Agent", "dagstore")
	answer, err := r.client.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, err
	}
	defer answer.Body.Close() // it was only read
	switch answer.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusGone:
		return nil, ErrNoName
	default:
		return nil, fmt.Errorf("gateway: %s answers %s for the record of %s", r.base, answer.Status, name)
	}
	raw, err := io.ReadAll(io.LimitReader(answer.Body, maxRecord+1))
	if err == nil && len(raw) > maxRecord {
		err = fmt.Errorf("gateway: the record of %s is longer than %d bytes", name, maxRecord)
	}
	return raw, err
}
