package firewall

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Drift says what an nft table lacked of what it should be. The zero Drift is nothing.
type Drift struct {
	Missing bool     // there was no table
	Changed []string // objects that were missing, too many or otherwise than wanted; example "chain leave1"
}

// None tells whether the table was as wanted.
func (d Drift) None() bool { return !d.Missing && len(d.Changed) == 0 }

// Join returns what two looks found together.
func (d Drift) Join(e Drift) Drift {
	changed := slices.Concat(d.Changed, e.Changed)
	slices.Sort(changed)
	return Drift{Missing: d.Missing || e.Missing, Changed: slices.Compact(changed)}
}

// String returns what is wrong in a few words; example "chain leave1, set bank".
func (d Drift) String() string {
	const most = 3
	switch {
	case d.Missing:
		return "it was removed"
	case len(d.Changed) > most:
		return fmt.Sprintf("%s and %d more", strings.Join(d.Changed[:most], ", "), len(d.Changed)-most)
	}
	return strings.Join(d.Changed, ", ")
}

// Listing is an nft table as "nft -s -n list table" shows it: in the words of nft(8), which differ from those
// that made it. Two listings by the same program are comparable.
type Listing struct {
	flags   string // of the table, and all that belongs to no object
	objects map[string]listed
}

// listed is an object of a listing.
type listed struct {
	kind     Kind
	head     string // of a chain, its place; of a set, all but the elements
	contents string
}

// dormantFlag is what a dormant table has before its objects.
const dormantFlag = "flags dormant"

// ParseListing reads what nft(8) lists of one table. It understands the blocks, not what is in them.
func ParseListing(text string) Listing {
	l := Listing{objects: map[string]listed{}}
	var name string
	var block []string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		rest, inside := strings.CutPrefix(line, "\t")
		words := strings.Fields(rest)
		switch {
		case !inside || rest == "": // the table's own braces
		case name != "" && rest == "}":
			l.objects[name] = listedOf(name, block)
			name = ""
		case name != "":
			block = append(block, rest)
		case len(words) == 3 && words[2] == "{":
			name, block = words[0]+" "+words[1], nil
		default:
			l.flags += rest + "\n"
		}
	}
	return l
}

// listedOf parts the block of an object.
func listedOf(name string, block []string) listed {
	kind, _, _ := strings.Cut(name, " ")
	o := listed{kind: Kind(kind)}
	begins := func(line string) bool {
		line = strings.TrimSpace(line)
		if o.kind == Chain {
			return !strings.HasPrefix(line, "type ")
		}
		return strings.HasPrefix(line, "elements = ")
	}
	i := slices.IndexFunc(block, begins)
	if i < 0 {
		i = len(block)
	}
	o.head, o.contents = strings.Join(block[:i], "\n"), strings.Join(block[i:], "\n")
	return o
}

// Awake returns the listing of a dormant table as it would be if it were not.
func (l Listing) Awake() Listing {
	l.flags = strings.Replace(l.flags, dormantFlag+"\n", "", 1)
	return l
}

// Have holds a live table against the listing of what is wanted, as the same nft(8) shows it. It returns
// what Update may build upon, and what is not as wanted: the zero Table if all has to be made anew.
// Elements that traffic adds make no difference.
func (t Table) Have(normal, live Listing) (Table, Drift) {
	var have Table
	var drift Drift
	whole := normal.flags == live.flags
	if !whole {
		drift.Changed = append(drift.Changed, "the table's flags")
	}
	for _, o := range t.Objects {
		name := string(o.Kind) + " " + o.Name
		n, l := normal.objects[name], live.objects[name]
		if l.kind == "" {
			drift.Changed = append(drift.Changed, name)
			continue
		}
		switch {
		case n.head == l.head:
		case o.Kind == Set || o.Kind == Map:
			o.Header = l.head // another one than any of ours
		default:
			whole = false
		}
		if n.head != l.head || n.contents != l.contents && !o.Dynamic {
			drift.Changed = append(drift.Changed, name)
			o.Lines = []string{l.contents} // in other words than any of ours
		}
		have.Objects = append(have.Objects, o)
	}
	for _, name := range slices.Sorted(maps.Keys(live.objects)) {
		if _, wanted := normal.objects[name]; wanted {
			continue
		}
		drift.Changed = append(drift.Changed, name)
		kind, word, _ := strings.Cut(name, " ")
		whole = whole && slices.Contains([]Kind{Chain, Set, Map, Counter}, Kind(kind))
		have.Objects = append(have.Objects, Object{Kind: Kind(kind), Name: word})
	}
	if !whole {
		return Table{}, drift
	}
	return have, drift
}
