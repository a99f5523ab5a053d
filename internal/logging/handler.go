package logging

import (
	"context"
	"encoding"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
)

// handler writes each record with a single Write, so that neither lines of two records nor records
// of a rotated file mix.
type handler struct {
	out    *output
	layout layout
	level  slog.Level
	groups string // open groups, as "a.b."
	attrs  []byte // attributes of With, already written out
}

// output is shared by a handler and all derived from it.
type output struct {
	sync.Mutex
	io.Writer
}

func newHandler(w io.Writer, l layout, level slog.Level) *handler {
	return &handler{out: &output{Writer: w}, layout: l, level: level}
}

// Enabled implements slog.Handler.
func (h *handler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level }

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	derived := *h
	derived.attrs = h.attrs[:len(h.attrs):len(h.attrs)]
	for _, a := range attrs {
		derived.attrs = h.appendAttr(derived.attrs, h.groups, a)
	}
	return &derived
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	derived := *h
	derived.groups += name + "."
	return &derived
}

// Handle implements slog.Handler. The attributes stand at the end of the message's first line: the
// further lines are for people, and stay as they are.
func (h *handler) Handle(_ context.Context, r slog.Record) error {
	first, rest, _ := strings.Cut(strings.TrimRight(r.Message, "\r\n"), "\n")
	b := h.layout.head(nil, r.Time, r.Level)
	b = appendText(b, first)
	b = append(b, h.attrs...)
	r.Attrs(func(a slog.Attr) bool {
		b = h.appendAttr(b, h.groups, a)
		return true
	})
	b = append(b, '\n')
	if rest != "" {
		for line := range strings.SplitSeq(rest, "\n") {
			b = h.layout.more(b, r.Level)
			b = appendText(b, line)
			b = append(b, '\n')
		}
	}
	h.out.Lock()
	defer h.out.Unlock()
	_, err := h.out.Write(b)
	return err
}

func (h *handler) appendAttr(b []byte, groups string, a slog.Attr) []byte {
	a.Value = a.Value.Resolve()
	if a.Equal(slog.Attr{}) {
		return b
	}
	if a.Value.Kind() == slog.KindGroup {
		if a.Key != "" {
			groups += a.Key + "."
		}
		for _, member := range a.Value.Group() {
			b = h.appendAttr(b, groups, member)
		}
		return b
	}
	b = append(b, ' ')
	b = h.layout.key(b, string(appendValue(nil, groups+a.Key)))
	return appendValue(b, valueText(a.Value))
}

func valueText(v slog.Value) string {
	switch v.Kind() {
	case slog.KindTime:
		return v.Time().Format(fileTime)
	case slog.KindAny:
		return anyText(v.Any())
	default:
		return v.String()
	}
}

// anyText prefers what a type says about itself: that is how secrets stay redacted. fmt survives
// methods that panic, on nil pointers for example.
func anyText(v any) string {
	switch v := v.(type) {
	case error, fmt.Stringer:
		return fmt.Sprint(v)
	case encoding.TextMarshaler:
		return fmt.Sprint(marshaled{v})
	default:
		return fmt.Sprintf("%+v", v)
	}
}

// marshaled lets fmt call MarshalText.
type marshaled struct{ encoding.TextMarshaler }

// String returns the marshaled text, or the error in its place.
func (m marshaled) String() string {
	text, err := m.MarshalText()
	if err != nil {
		return "!ERROR: " + err.Error()
	}
	return string(text)
}
