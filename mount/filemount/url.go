package filemount

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/dagstore/dagstore/mount"
)

// onWindows says which of the two families of paths this system has. The
// functions below take it as an argument, so that both are tested everywhere.
const onWindows = runtime.GOOS == "windows"

// pathOf returns the path that url names on this system.
func pathOf(url string) (string, error) {
	path, err := parseURL(url, onWindows)
	if err != nil {
		return "", err
	}
	return filepath.Clean(path), nil
}

// formatURL spells an absolute, clean path as a URL.
func formatURL(path string, windows bool) string {
	if !windows {
		return "file://" + mount.EscapePath(path)
	}
	path = strings.ReplaceAll(path, `\`, "/")
	if share, ok := strings.CutPrefix(path, "//"); ok {
		host, rest, _ := strings.Cut(share, "/")
		return "file://" + escapeHost(strings.ToLower(host)) + "/" + mount.EscapePath(rest)
	}
	if isDrive(path) {
		path = strings.ToUpper(path[:1]) + path[1:]
	}
	return "file:///" + mount.EscapePath(path)
}

// parseURL is the inverse of formatURL; the path may not be clean yet. Its
// errors do not repeat the URL, which may hold a credential that does not
// belong there.
func parseURL(url string, windows bool) (string, error) {
	rest, ok := strings.CutPrefix(url, "file:")
	if !ok {
		return "", fmt.Errorf("%w: it does not begin with \"file:\"", mount.ErrURL)
	}
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		return "", fmt.Errorf("%w: a %q in a path is written %%%X", mount.ErrURL, rest[i], rest[i])
	}
	host, path := "", rest
	if authority, ok := strings.CutPrefix(rest, "//"); ok {
		i := strings.IndexByte(authority, '/')
		if i < 0 {
			i = len(authority)
		}
		host, path = authority[:i], authority[i:]
	}
	host, err := mount.UnescapePath(host)
	if err != nil {
		return "", err
	}
	path, err = mount.UnescapePath(path)
	if err != nil {
		return "", err
	}
	switch {
	case path == "" || path[0] != '/':
		return "", fmt.Errorf("%w: its path is not absolute", mount.ErrURL)
	case strings.IndexByte(host, 0) >= 0 || strings.IndexByte(path, 0) >= 0:
		return "", fmt.Errorf("%w: it holds a zero byte", mount.ErrURL)
	case strings.EqualFold(host, "localhost"):
		host = ""
	}
	if windows {
		return windowsPath(host, path)
	}
	if host != "" {
		return "", fmt.Errorf("%w: it names another host", mount.ErrURL)
	}
	return path, nil
}

// windowsPath joins what stands in a URL to a path with a drive or a share.
func windowsPath(host, path string) (string, error) {
	path = strings.ReplaceAll(path, "/", `\`)
	if share, ok := strings.CutPrefix(path, `\\`); host == "" && ok && share != "" && share[0] != '\\' {
		host, path, _ = strings.Cut(share, `\`) // file:////host/share, as some write it
		path = `\` + path
	}
	switch {
	case strings.ContainsAny(host, `/\:`): // with a colon it is ann:secret@host
		return "", fmt.Errorf("%w: no host is called so", mount.ErrURL)
	case host != "":
		return `\\` + strings.ToLower(host) + path, nil
	case isDrive(path[1:]) && len(path) > 3 && path[3] == '\\':
		return strings.ToUpper(path[1:2]) + path[2:], nil
	}
	return "", fmt.Errorf("%w: its path has neither a drive nor a host", mount.ErrURL)
}

// isDrive reports whether path begins with a letter and a colon.
func isDrive(path string) bool {
	return len(path) >= 2 && path[1] == ':' && ('a' <= path[0]|0x20 && path[0]|0x20 <= 'z')
}

// escapeHost escapes what a path may hold and a host may not.
func escapeHost(host string) string {
	return strings.NewReplacer("@", "%40", ":", "%3A").Replace(mount.EscapePath(host))
}

// splitDotDot splits path after its last element "..". The head is empty if
// there is none.
func splitDotDot(path string) (head, tail string) {
	for end := len(path); ; {
		i := strings.LastIndexByte(path[:end], '/')
		if path[i+1:end] == ".." {
			return path[:end], path[end:]
		}
		if i < 0 {
			return "", path
		}
		end = i
	}
}
