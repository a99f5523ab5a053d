package logging

import (
	"os"
	"slices"
	"strings"
	"testing"

	"ftr/internal/netns"
)

// The tests mount file systems, in a mount namespace of their own. The processes of go test -fuzz talk
// over inherited files, and mount nothing.
func TestMain(m *testing.M) {
	if slices.ContainsFunc(os.Args, func(arg string) bool { return strings.HasPrefix(arg, "-test.fuzz=") || arg == "-test.fuzzworker" }) {
		os.Exit(m.Run())
	}
	os.Exit(netns.Private(m.Run))
}
