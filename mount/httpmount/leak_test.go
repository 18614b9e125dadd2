package httpmount_test

import (
	"io"
	"log"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// The transport of the standard library tells there of servers that send
	// what nobody asked for, as many here do.
	log.SetOutput(io.Discard)
	goleak.VerifyTestMain(m)
}
