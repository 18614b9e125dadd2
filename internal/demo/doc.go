// Command demo shows what dagstore does, on this machine and with nothing
// from elsewhere: it packs the project's own documents and sources into CARs,
// adds them and the CARs that it finds to a store in a temporary folder,
// serves that store on the loopback address, and prints commands that work
// when they are pasted. With -once it runs these commands itself, checks what
// they give, and ends. "make demo" runs it.
package main
