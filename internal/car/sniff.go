package car

import (
	"bytes"
	"strings"
)

// sniffLen is how much of a file's beginning tells what it is: a tar says so
// at offset 257.
const sniffLen = 512

// magics are what other files begin with.
var magics = [...]struct{ magic, what string }{
	{"\x1f\x8b", "gzip data: decompress it first"},
	{"\x28\xb5\x2f\xfd", "zstd data: decompress it first, or name it by a zstd+ URL"},
	{"\xfd7zXZ\x00", "xz data: decompress it first"},
	{"BZh", "bzip2 data: decompress it first"},
	{"\x04\x22\x4d\x18", "lz4 data: decompress it first"},
	{"PK\x03\x04", "a zip archive"},
	{"PK\x05\x06", "an empty zip archive"},
	{"7z\xbc\xaf\x27\x1c", "a 7z archive"},
	{"%PDF-", "a PDF"},
	{"\x7fELF", "an ELF binary"},
	{"SQLite format 3\x00", "an SQLite database"},
	{"version https://git-lfs.github.com/", "a Git LFS pointer: fetch the file that it stands for"},
	{"\x81\x08", "a CAR index without its CAR"},
	{"\x80\x08", "a CAR index without its CAR"},
}

// sniff says what a file that is no CAR seems to be, from its first bytes;
// nothing if it might be a damaged CAR.
func sniff(b []byte) string {
	// Behind the length of a CAR's header is the head of a CBOR map of one or
	// two keys. It is there: damaged or not, this is a CAR.
	if _, n, _ := uvarint(b); n > 0 && n < len(b) && (b[n] == 0xa1 || b[n] == 0xa2) {
		return ""
	}
	for _, m := range magics {
		if bytes.HasPrefix(b, []byte(m.magic)) {
			return m.what
		}
	}
	if len(b) >= 262 && string(b[257:262]) == "ustar" {
		return "a tar archive"
	}
	return sniffText(b)
}

// sniffText tells apart the texts that servers send in place of a CAR.
func sniffText(b []byte) string {
	text := bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	if len(text) > 64 {
		text = text[:64]
	}
	for _, c := range text {
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' {
			return ""
		}
	}
	start := strings.ToLower(strings.TrimLeft(string(text), " \t\r\n"))
	switch {
	case start == "":
		return ""
	case strings.HasPrefix(start, "<?xml"):
		return "XML, perhaps the error message of a server"
	case strings.HasPrefix(start, "<"):
		return "HTML, perhaps the error page of a server"
	case start[0] == '{' || start[0] == '[':
		return "JSON, perhaps the error message of a server"
	}
	for i := range len(start) {
		if start[i] >= 0x7f {
			return ""
		}
	}
	return "text"
}
