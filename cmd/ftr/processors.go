package main

import (
	"os"
	"runtime"
)

// fewUplinks is up to how many uplinks all that is to be done at once is less than what it costs to have
// another thread help.
const fewUplinks = 16

// useProcessors has a program with few uplinks run on one processor at a time. It does next to nothing, some
// times a second, and each time the threads of the others would be woken to look for work: a third of what
// an idle router takes. Who sets GOMAXPROCS decides.
func useProcessors(uplinks int) {
	switch {
	case os.Getenv("GOMAXPROCS") != "":
	case uplinks <= fewUplinks:
		runtime.GOMAXPROCS(1)
	default:
		runtime.SetDefaultGOMAXPROCS()
	}
}
