package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// result is everything that one run of the bench measured.
type result struct {
	Program string        `json:"program"`
	Command string        `json:"command,omitempty"`
	Family  family        `json:"family"` // 0, in older files: IPv4
	Machine string        `json:"machine"`
	Start   time.Time     `json:"start"`
	Took    time.Duration `json:"took_ns"`
	Runs    int           `json:"runs"`
	Quick   bool          `json:"quick"`
	Figures []*Figure     `json:"figures"`
	Noise   []PhaseNoise  `json:"noise"`
}

// PhaseNoise is the machine's noise during one phase.
type PhaseNoise struct {
	Phase string `json:"phase"`
	Noise
}

// machine describes what it runs on.
func machine() string {
	var u unix.Utsname
	kernel := "unknown kernel"
	if unix.Uname(&u) == nil {
		kernel = unix.ByteSliceToString(u.Sysname[:]) + " " + release(unix.ByteSliceToString(u.Release[:]))
	}
	return fmt.Sprintf("%s, %s, %d CPUs", kernel, runtime.GOARCH, runtime.NumCPU())
}

// release leaves out what a builder appended to a kernel's version.
func release(text string) string {
	version, _, _ := strings.Cut(text, "-")
	return version
}

// count returns how many figures have a verdict.
func (r *result) count(verdict string) (n int) {
	for _, f := range r.Figures {
		if f.Verdict() == verdict {
			n++
		}
	}
	return n
}

// held tells whether all goals held and all was measured.
func (r *result) held() bool { return r.count(missed)+r.count(failed) == 0 && r.count(held) > 0 }

// verdict says so in one line.
func (r *result) verdict() string {
	var text strings.Builder
	fmt.Fprintf(&text, "\n%d goals held, %d missed, %d not measured, in %s", r.count(held), r.count(missed), r.count(failed), r.Took.Round(time.Second))
	for _, f := range r.Figures {
		if v := f.Verdict(); v == missed || v == failed {
			fmt.Fprintf(&text, "\n  %s %s: %s", v, f.Phase, strings.TrimPrefix(f.line(), "✗ "))
		}
	}
	return text.String()
}

// recall reads the JSON file of an earlier run of a family; without a path it returns nil.
func recall(path string, of family) (*result, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the earlier run: %w", err)
	}
	r := new(result)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("read the earlier run: %s: %w", path, err)
	}
	if r.Family == 0 {
		r.Family = ipv4
	}
	if r.Family != of {
		return nil, fmt.Errorf("read the earlier run: %s is one of %s, and %s is measured now", path, r.Family, of)
	}
	return r, nil
}

// add takes the phases over from an earlier run that were not measured now, each in its place.
func (r *result) add(earlier *result) {
	if earlier == nil {
		return
	}
	now, before := *r, *earlier
	r.Figures, r.Noise = nil, nil
	for _, p := range phases() {
		from := now
		if !slices.ContainsFunc(now.Figures, func(f *Figure) bool { return f.Phase == p.name }) {
			from = before
		}
		for _, f := range from.Figures {
			if f.Phase == p.name {
				r.Figures = append(r.Figures, f)
			}
		}
		for _, n := range from.Noise {
			if n.Phase == p.name {
				r.Noise = append(r.Noise, n)
			}
		}
	}
	r.Runs, r.Quick, r.Took = max(r.Runs, before.Runs), r.Quick || before.Quick, r.Took+before.Took
}

// write writes the files that were asked for.
func (r *result) write(s settings) error {
	var errs []error
	if s.json != "" {
		text, err := json.MarshalIndent(r, "", "  ")
		errs = append(errs, err, store(s.json, append(text, '\n')))
	}
	if s.chart != "" {
		errs = append(errs, store(s.chart, []byte(r.chart())))
	}
	if s.markdown != "" {
		old, err := os.ReadFile(s.markdown)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("write the report: %w", err)
		}
		chart := ""
		if s.chart != "" {
			chart = filepath.Base(s.chart)
		}
		errs = append(errs, store(s.markdown, []byte(replaceSection(string(old), r.heading(), r.section(chart)))))
	}
	return errors.Join(errs...)
}

// store writes a file whole or not at all.
func store(path string, text []byte) error {
	if err := os.WriteFile(path+".new", text, 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
