// Package netguardtest has a name server whose answers lead wherever a test
// wants, to hold against a guard that looks at what is dialled. It answers on
// loopback only.
package netguardtest
