package main

import (
	"runtime"
	"testing"
)

func TestProcessors(t *testing.T) {
	t.Cleanup(runtime.SetDefaultGOMAXPROCS)
	t.Setenv("GOMAXPROCS", "")
	runtime.SetDefaultGOMAXPROCS()
	all := runtime.GOMAXPROCS(0)
	for _, tt := range []struct{ uplinks, want int }{{3, 1}, {fewUplinks, 1}, {fewUplinks + 1, all}, {1, 1}} {
		if useProcessors(tt.uplinks); runtime.GOMAXPROCS(0) != tt.want {
			t.Errorf("%d uplinks: %d processors, want %d", tt.uplinks, runtime.GOMAXPROCS(0), tt.want)
		}
	}
	t.Setenv("GOMAXPROCS", "2")
	runtime.GOMAXPROCS(2)
	if useProcessors(3); runtime.GOMAXPROCS(0) != 2 {
		t.Errorf("GOMAXPROCS is set to 2, but %d are used", runtime.GOMAXPROCS(0))
	}
}
