package doctor

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// A Level is how bad something is.
type Level string

// The levels. A fault will lose data or keep the store from working; a warning
// costs something, or may become a fault.
const (
	OK      Level = "ok"
	Warning Level = "warning"
	Fault   Level = "fault"
)

// A Finding is what one look has shown.
type Finding struct {
	Check string `json:"check"`
	Level Level  `json:"level"`
	What  string `json:"what"`
	Do    string `json:"do,omitempty"` // what to do about it; "" if all is well
}

func ok(check, format string, args ...any) Finding {
	return Finding{Check: check, Level: OK, What: fmt.Sprintf(format, args...)}
}

// bad is a finding of a level; the format is about what was found.
func bad(check string, level Level, do, format string, args ...any) Finding {
	return Finding{Check: check, Level: level, What: fmt.Sprintf(format, args...), Do: do}
}

// Count returns how many findings are warnings and faults.
func Count(all []Finding) (warnings, faults int) {
	for _, f := range all {
		switch f.Level {
		case Warning:
			warnings++
		case Fault:
			faults++
		case OK:
		}
	}
	return warnings, faults
}

// Table writes findings as aligned lines, each followed by what to do.
func Table(w io.Writer, all []Finding) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range all {
		fmt.Fprintf(t, "%s\t%s\t%s\n", f.Level, f.Check, f.What)
		if f.Do != "" {
			fmt.Fprintf(t, "\t\t→ %s\n", f.Do)
		}
	}
	return t.Flush()
}
