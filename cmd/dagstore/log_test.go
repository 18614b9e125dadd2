package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/dagstore/dagstore/cmd/dagstore/internal/settings"
)

func TestLog(t *testing.T) {
	info := slog.LevelInfo
	for _, test := range []struct {
		name   string
		log    settings.Log
		level  slog.Level
		parses bool
		lines  int
	}{
		{"usual", settings.Log{}, slog.LevelWarn, false, 2},
		{"json", settings.Log{Format: "json"}, slog.LevelWarn, true, 2},
		{"more", settings.Log{Format: "json", Level: &info}, slog.LevelError, true, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			a := &app{stderr: &out, settings: &settings.File{Log: test.log}}
			log := a.logger(test.level).With("part", "x")
			log.Debug("never")
			log.Info("ready")
			for range 100 {
				a.logger(test.level).With("part", "x").Error("no disk") // each is the same log
			}
			a.closeLog()
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			if len(lines) != test.lines || !strings.Contains(lines[len(lines)-1], "99") {
				t.Errorf("the log is\n%s", out.String())
			}
			for _, line := range lines {
				if json.Valid([]byte(line)) != test.parses || !strings.Contains(line, "part") {
					t.Error(line)
				}
			}
		})
	}
}
