package main

import (
	"context"
	"fmt"

	"github.com/dagstore/dagstore"
)

// heldAt is a location under which the server holds each connection back.
const heldAt = `location ~ ^/held/(.*)$ { alias "%s/$1"; limit_rate 32m; }`

// copyStreams has a store copy a CAR by as many streams as it finds quicker, beside
// one that has one stream at a time: from a server that holds nothing back, where more
// can only cost, and from one that holds back each connection.
func copyStreams(ctx context.Context, e *env) (result, error) {
	c, err := e.car("big", e.scale.big, bigSize)
	if err != nil {
		return result{}, err
	}
	free := func(f *far) *dagstore.Config { return &dagstore.Config{Mounts: f.mounts} }
	one := func(f *far) *dagstore.Config {
		return &dagstore.Config{Mounts: f.mounts, Work: dagstore.Work{Fetches: 1}}
	}
	return behindEach(e, func(f *far) (r result, err error) {
		name := string(c.key)
		if err := f.put(ctx, name, c.path); err != nil {
			return r, err
		}
		figure, limit, err := pairs(ctx, min(3, e.scale.rounds),
			func() (float64, error) { return e.copied(ctx, f, c, name, free(f)) },
			func() (float64, error) { return e.copied(ctx, f, c, name, one(f)) })
		if err != nil {
			return r, err
		}
		r = compared(figure, limit, "MB/s")
		r.goal, r.held = "≥ 0.95, ≥ 2 where each connection is held back", r.ratio >= 0.95
		r.note = fmt.Sprintf("%d × 1 MiB: %.0f MB/s, by one stream %.0f", c.blocks, figure, limit)
		if f.name != "nginx" {
			return r, nil
		}
		held, err := e.copied(ctx, f, c, "held/"+name, free(f))
		if err != nil {
			return r, err
		}
		alone, err := e.copied(ctx, f, c, "held/"+name, one(f))
		r.held = r.held && held >= 2*alone
		r.note += fmt.Sprintf("; of 32 MiB/s for each connection %.0f MB/s, by one stream %.0f, %.2f", held, alone, held/alone)
		return r, err
	}, highRatio)
}
