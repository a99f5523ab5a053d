package firewall

import (
	"slices"
	"strings"
)

// ManagedTable is the name of the nft table of a managed firewall, in family inet.
const ManagedTable = "ftr"

// HoldTables begins the names of nft tables, in family inet, that have the kernel go on tracking and translating
// connections while ManagedTable is away. There is one while the program runs.
const HoldTables = "ftr_hold_"

// Kind is what an object of an nft table is, in the words of nft(8).
type Kind string

// The kinds of objects.
const (
	Chain   Kind = "chain"
	Set     Kind = "set"
	Map     Kind = "map"
	Counter Kind = "counter"
)

// Object is a part of an nft table that is replaced as a whole.
type Object struct {
	Kind   Kind
	Name   string
	Header string   // what the object is: hook and priority of a base chain, type and flags of a set; may be empty
	Lines  []string // rules of a chain, elements of a set or map
	// Dynamic: traffic adds the elements of the set or map, and an update keeps them.
	Dynamic bool
}

// Equal tells whether two objects are written alike.
func (o Object) Equal(p Object) bool {
	return o.Kind == p.Kind && o.Name == p.Name && o.Header == p.Header && o.Dynamic == p.Dynamic && slices.Equal(o.Lines, p.Lines)
}

// same tells whether one object can become the other by getting other contents.
func (o Object) same(p Object) bool {
	return o.Kind == p.Kind && o.Name == p.Name && o.Header == p.Header && o.Dynamic == p.Dynamic
}

// Table is an nft table as it should be, with its objects in a fixed order. The zero Table is none.
type Table struct{ Objects []Object }

// Equal tells whether two tables are written alike.
func (t Table) Equal(u Table) bool { return slices.EqualFunc(t.Objects, u.Objects, Object.Equal) }

// String returns the text for "nft -f -" that makes the table ManagedTable, or replaces it with all its
// contents, in one transaction; of the zero Table, the text that removes it.
func (t Table) String() string { return t.Text(ManagedTable) }

// Text is String for a table of another name.
func (t Table) Text(name string) string {
	var b strings.Builder
	b.WriteString(Removal(name))
	if len(t.Objects) > 0 {
		t.write(&b, name, "")
	}
	return b.String()
}

// Dormant is Text for a table that the kernel keeps and that sees no packet (nft(8), flag dormant). Listed,
// it shows in the kernel's own words what the table should be.
func (t Table) Dormant(name string) string {
	var b strings.Builder
	b.WriteString(Removal(name))
	t.write(&b, name, "\tflags dormant\n")
	return b.String()
}

// Removal returns the text for "nft -f -" that removes a table of family inet, whether or not there is
// one. nft before 1.0.7 has no "destroy".
func Removal(name string) string {
	return "table inet " + name + "\ndelete table inet " + name + "\n"
}

// Update returns the text for "nft -f -" that turns have into want, in one transaction that touches no
// object which need not change: those go on with their counters and elements. It is empty if there is
// nothing to do. A set or map that becomes another kind of thing is made anew, and with it the rules that refer to it.
// Where another object does, the whole table is.
func Update(have, want Table) string {
	if have.Equal(want) {
		return ""
	}
	anew, possible := replaced(have, want)
	if len(have.Objects) == 0 || len(want.Objects) == 0 || !possible {
		return want.String()
	}
	var b strings.Builder
	var refill, gone []Object
	for _, h := range have.Objects {
		w, ok := want.object(h)
		if !ok {
			gone = append(gone, h)
		}
		stays := ok && h.same(w) && (h.Equal(w) || h.Dynamic) && !h.refersTo(anew)
		if h.Kind != Counter && !stays {
			empty(&b, h)
		}
	}
	for _, o := range anew {
		remove(&b, o)
	}
	for _, w := range want.Objects {
		if h, ok := have.object(w); !ok || !h.Equal(w) || h.refersTo(anew) {
			refill = append(refill, w)
		}
	}
	if len(refill) > 0 {
		Table{refill}.write(&b, ManagedTable, "")
	}
	for _, kind := range []Kind{Chain, Map, Set, Counter} { // whoever refers to another one goes first
		for _, o := range gone {
			if o.Kind == kind {
				remove(&b, o)
			}
		}
	}
	return b.String()
}

// replaced returns the sets and maps that another kind of thing takes the place of; possible is false where other
// objects change like that.
func replaced(have, want Table) (anew []Object, possible bool) {
	for _, h := range have.Objects {
		w, ok := want.object(h)
		switch {
		case !ok || h.same(w):
		case h.Kind == Set || h.Kind == Map:
			anew = append(anew, h)
		default:
			return nil, false
		}
	}
	return anew, true
}

// refersTo tells whether one of the object's rules names one of these sets and maps.
func (o Object) refersTo(sets []Object) bool {
	return o.Kind == Chain && slices.ContainsFunc(sets, func(s Object) bool {
		return slices.ContainsFunc(o.Lines, func(rule string) bool {
			return slices.Contains(strings.Fields(rule), "@"+s.Name)
		})
	})
}

// remove writes what takes an object away that is empty.
func remove(b *strings.Builder, o Object) {
	b.WriteString("delete " + string(o.Kind) + " inet " + ManagedTable + " " + o.Name + "\n")
}

// empty writes what takes all rules or elements out of an object.
func empty(b *strings.Builder, o Object) {
	b.WriteString("flush " + string(o.Kind) + " inet " + ManagedTable + " " + o.Name + "\n")
}

// object returns what stands in an object's place: chains and counters have names of their own, sets and maps
// share theirs.
func (t Table) object(like Object) (Object, bool) {
	i := slices.IndexFunc(t.Objects, func(o Object) bool {
		return o.Name == like.Name && (o.Kind == Chain) == (like.Kind == Chain) && (o.Kind == Counter) == (like.Kind == Counter)
	})
	if i < 0 {
		return Object{}, false
	}
	return t.Objects[i], true
}

// write writes the table's block.
func (t Table) write(b *strings.Builder, name, flags string) {
	b.WriteString("table inet " + name + " {\n" + flags)
	for _, o := range t.Objects {
		b.WriteString("\t" + string(o.Kind) + " " + o.Name + " {")
		if o.Kind == Counter {
			b.WriteString(" }\n")
			continue
		}
		b.WriteString("\n")
		if o.Header != "" {
			b.WriteString("\t\t" + o.Header + "\n")
		}
		o.contents(b)
		b.WriteString("\t}\n")
	}
	b.WriteString("}\n")
}

func (o Object) contents(b *strings.Builder) {
	switch {
	case len(o.Lines) == 0:
	case o.Kind == Chain:
		for _, rule := range o.Lines {
			b.WriteString("\t\t" + rule + "\n")
		}
	default:
		b.WriteString("\t\telements = { " + strings.Join(o.Lines, ", ") + " }\n")
	}
}
