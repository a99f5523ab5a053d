package status_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"ftr/internal/status"
)

func layout(width int, color bool) status.Layout {
	return status.Layout{Width: width, Color: color, Now: noon, Location: time.FixedZone("CET", 3600)}
}

func TestTable(t *testing.T) {
	for _, width := range []int{40, 80, 120, 200} {
		v := view(crowd())
		golden(t, fmt.Sprintf("testdata/crowd-%d.txt", width), v.Table(layout(width, false)))
		v = view(pair())
		golden(t, fmt.Sprintf("testdata/pair-%d.txt", width), v.Table(layout(width, false)))
	}
	kept := pair()
	kept.Uplinks[0] = dead()
	kept.Uplinks[0].Routing, kept.Uplinks[0].Weight = true, 1
	kept.Kept = append(kept.Kept, kept.Uplinks[0].Family)
	kept.Uplinks = kept.Uplinks[:1]
	v := view(kept)
	golden(t, "testdata/kept-80.txt", v.Table(layout(80, false)))
}

var styles = regexp.MustCompile("\x1b\\[[0-9]*m")

// Colours say nothing that the words do not: without them the same text remains. Nothing else that a
// terminal would obey comes through, and no line is longer than the terminal.
func TestTableFitsAndIsHarmless(t *testing.T) {
	for width := 20; width <= 260; width += 3 {
		v := view(crowd())
		colored, bare := v.Table(layout(width, true)), v.Table(layout(width, false))
		if got := styles.ReplaceAllString(colored, ""); got != bare {
			t.Fatalf("%d columns: the text depends on the colours:\n%s\n%s", width, got, bare)
		}
		if !strings.Contains(colored, "\x1b[3") || strings.ContainsRune(bare, '\x1b') {
			t.Fatalf("%d columns: colours where none are wanted, or none where they are", width)
		}
		for _, line := range strings.Split(bare, "\n") {
			// The wide characters of the description take two columns each.
			n := utf8.RuneCountInString(line) + len(regexp.MustCompile(`\p{Han}`).FindAllString(line, -1))
			if n > max(width, 24) {
				t.Fatalf("%d columns: a line of %d: %s", width, n, line)
			}
		}
		for _, word := range []string{"down, by hand", "2001:db8:1234:5678:9abc:def0:1234:5678", "held back until", "1.2.3"} {
			if flat := strings.Join(strings.Fields(bare), " "); width >= 80 && !strings.Contains(flat, strings.Fields(word)[0]) {
				t.Fatalf("%d columns: %q is missing:\n%s", width, word, bare)
			}
		}
	}
}

func TestUplinksAlone(t *testing.T) {
	v := view(crowd())
	found, err := v.Find("Fibre")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/uplink-80.txt", status.Uplinks(found, layout(80, false)))
	if got := status.Uplinks(nil, layout(80, false)); got != "No uplinks.\n" {
		t.Errorf("nothing: %q", got)
	}
}
