package config

import (
	"encoding/json"
	"strings"
)

//go:generate go test -run ^Test(SchemaFile|Reference|BadFiles)$ -update

// schema is a JSON Schema (draft 2020-12), as far as the configuration needs it.
type schema struct {
	Dialect              string             `json:"$schema,omitempty"`
	Title                string             `json:"title,omitempty"`
	Description          string             `json:"description,omitempty"`
	Default              any                `json:"default,omitempty"`
	Deprecated           bool               `json:"deprecated,omitempty"`
	WriteOnly            bool               `json:"writeOnly,omitempty"`
	Type                 any                `json:"type,omitempty"`
	Enum                 []any              `json:"enum,omitempty"`
	AnyOf                []*schema          `json:"anyOf,omitempty"`
	Minimum              *int64             `json:"minimum,omitempty"`
	Maximum              *int64             `json:"maximum,omitempty"`
	MinimumNumber        *float64           `json:"-"`
	MaximumNumber        *float64           `json:"-"`
	MinLength            *int               `json:"minLength,omitempty"`
	MaxLength            *int               `json:"maxLength,omitempty"`
	Pattern              string             `json:"pattern,omitempty"`
	Format               string             `json:"format,omitempty"`
	Items                *schema            `json:"items,omitempty"`
	MinItems             *int               `json:"minItems,omitempty"`
	MaxItems             *int               `json:"maxItems,omitempty"`
	Properties           map[string]*schema `json:"properties,omitempty"`
	PatternProperties    map[string]*schema `json:"patternProperties,omitempty"`
	AdditionalProperties *bool              `json:"additionalProperties,omitempty"`
	Required             []string           `json:"required,omitempty"`
}

// MarshalJSON writes limits that are fractions under the same names as whole ones.
func (s *schema) MarshalJSON() ([]byte, error) {
	type plain schema
	return json.Marshal(struct {
		*plain
		Minimum any `json:"minimum,omitempty"`
		Maximum any `json:"maximum,omitempty"`
	}{(*plain)(s), limit(s.Minimum, s.MinimumNumber), limit(s.Maximum, s.MaximumNumber)})
}

func limit(whole *int64, fraction *float64) any {
	switch {
	case whole != nil:
		return *whole
	case fraction != nil:
		return *fraction
	}
	return nil
}

// Schema returns the JSON Schema of the configuration file, for editors that complete and check
// while one types. It covers the form of every key; what concerns several keys at once only Parse
// checks.
func Schema() []byte {
	root := objectSchema(table(new(draft)))
	root.Dialect = "https://json-schema.org/draft/2020-12/schema"
	root.Title = "Configuration of Fault Tolerant Router"
	text, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		panic("config: marshal schema: " + err.Error()) // the table holds only marshalable values
	}
	return append(text, '\n')
}

// objectSchema is the schema of a section with these keys and no others.
func objectSchema(keys []key) *schema {
	closed := false
	s := &schema{Type: []string{"object", "null"}, Properties: map[string]*schema{}, AdditionalProperties: &closed}
	var symbols []string
	for _, k := range keys {
		s.Properties[k.name] = k.schema()
		if k.required {
			s.Required = append(s.Required, k.name)
			s.Type = "object"
		}
		if k.symbol {
			symbols = append(symbols, k.name)
		}
	}
	if symbols != nil {
		pattern := "^:(" + strings.Join(symbols, "|") + ")$"
		s.PatternProperties = map[string]*schema{pattern: {Description: "The same key as a Ruby symbol."}}
	}
	return s
}

// schema is the schema of a key's value with what the table says of the key.
func (k key) schema() *schema {
	s := k.form.schema()
	s.Description, s.WriteOnly, s.Deprecated = k.doc, k.secret, k.era == since15
	if k.fallback != "" {
		s.Default = k.fallback
		var number json.Number
		if json.Unmarshal([]byte(k.fallback), &number) == nil {
			s.Default = number
		}
	}
	if k.required {
		s.forbidNull()
	}
	return s
}

// forbidNull removes null from what a value may be: a required key cannot be left blank.
func (s *schema) forbidNull() {
	if types, ok := s.Type.([]string); ok {
		s.Type = types[:len(types)-1]
	}
	if n := len(s.AnyOf); n > 0 {
		s.AnyOf = s.AnyOf[:n-1]
	}
}
