package status

import (
	"fmt"
	"slices"
	"strings"

	"ftr/internal/config"
)

// NameError is a name that means no uplink, or several.
type NameError struct {
	Name    string
	Several []string // the interfaces that have this name; empty: none has
	Nearest string   // the name that was probably meant; empty: no idea
	Known   []string // names of all uplinks
}

// Error says what to write instead.
func (e *NameError) Error() string {
	switch {
	case len(e.Several) > 0:
		return fmt.Sprintf("%q is the name of several uplinks: name one by its interface: %s", e.Name, strings.Join(e.Several, ", "))
	case e.Nearest != "":
		return fmt.Sprintf("there is no uplink %q: did you mean %q?", e.Name, e.Nearest)
	default:
		return fmt.Sprintf("there is no uplink %q; there are: %s", e.Name, strings.Join(e.Known, ", "))
	}
}

// Find returns the uplink with an interface or a description, in all its families. Case does not
// count where nothing else fits. The error is a NameError.
func (v *View) Find(name string) ([]UplinkView, error) {
	matches := []func(UplinkView) bool{
		func(u UplinkView) bool { return u.Interface == name },
		func(u UplinkView) bool { return u.Name == name },
		func(u UplinkView) bool {
			return strings.EqualFold(u.Interface, name) || strings.EqualFold(u.Name, name)
		},
	}
	for _, match := range matches {
		var found []UplinkView
		var interfaces []string
		for _, u := range v.Uplinks {
			if !match(u) {
				continue
			}
			found = append(found, u)
			if !slices.Contains(interfaces, u.Interface) {
				interfaces = append(interfaces, u.Interface)
			}
		}
		if len(interfaces) > 1 {
			return nil, &NameError{Name: name, Several: interfaces}
		}
		if len(found) > 0 {
			return found, nil
		}
	}
	e := &NameError{Name: name}
	var candidates []string
	for _, u := range v.Uplinks {
		candidates = append(candidates, u.Name, u.Interface)
		if !slices.Contains(e.Known, u.Name) {
			e.Known = append(e.Known, u.Name)
		}
	}
	e.Nearest = config.Closest(name, candidates)
	return nil, e
}
