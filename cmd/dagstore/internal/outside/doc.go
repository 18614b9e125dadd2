// Package outside opens sources that were named by somebody who may not name
// private ones: a client of the admin API without the scope sources:private.
//
// Such a source has a URL of its own, with "outside+" before the scheme, and an
// opener of its own, which reaches only what the public internet does:
//
//	reg["outside+https"] = outside.Wrap(untrusted)
//	m, err := reg.Open(outside.URL("https://cars.example/a.car"))
//
// The URL is all that a store remembers of a source, so the source is opened by
// that opener after a restart, too, whoever asks for it then.
package outside
