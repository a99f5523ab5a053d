//go:build !race

package e2e_test

// raceEnabled: the tests run with the race detector, and so does the program.
const raceEnabled = false
