package httpmount

import (
	"net/url"
	"slices"
	"strings"
)

// insteadOfSecrets says where credentials belong.
const insteadOfSecrets = "credentials stand in the configuration, as [credentials.NAME] with hosts=… and file= or env= " +
	"(a file from systemd's LoadCredential, too); for S3 use an s3: URL, which finds them as the AWS tools do"

// Names of parameters that carry credentials, in lower case, without what
// separates words.
var (
	secretNames = []string{
		"sig", "auth", "pass", "pwd", "pw", "jwt", "sas", "bearer", "hmac", "apikey", "keypairid", "sessionid", "sid", "qak", "xamzalgorithm", "authkey", "subscriptionkey",
	}
	secretParts = []string{"signature", "secret", "password", "passwd", "passphrase", "accesskey", "accessid", "credential", "authorization", "privatekey"}
	secretEnds  = []string{"token", "apikey", "jwt"}
)

// secretParameter returns the name of a parameter of query that carries a
// credential, as those of a presigned URL do, or "". What it returns is a word
// of the lists above, never a part of the query.
func secretParameter(query string) string {
	for parameter := range strings.FieldsFuncSeq(query, func(r rune) bool { return r == '&' || r == ';' || r == '?' }) {
		name, _, _ := strings.Cut(parameter, "=")
		name = plainName(name)
		if slices.Contains(secretNames, name) {
			return name
		}
		for _, part := range secretParts {
			if strings.Contains(name, part) {
				return part
			}
		}
		for _, end := range secretEnds {
			if strings.HasSuffix(name, end) {
				return end
			}
		}
	}
	return ""
}

// plainName is the letters and digits of a name, unescaped and in lower case.
func plainName(name string) string {
	if unescaped, err := url.QueryUnescape(name); err == nil {
		name = unescaped
	}
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			return r
		case 'A' <= r && r <= 'Z':
			return r + ('a' - 'A')
		}
		return -1
	}, name)
}
