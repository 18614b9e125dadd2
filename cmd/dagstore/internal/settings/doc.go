// Package settings reads the configuration file of the command.
//
// It is one TOML file. A key that is not known is an error, as is a value that
// cannot be, so that a mistake is told of at once and not by what does not
// happen later. Everything has a default: there need not be a file.
//
// No secret stands in it. A [Credential] says where one is to be found, which
// is read when it is needed.
package settings
