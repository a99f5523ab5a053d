package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"
)

func TestSchemaFile(t *testing.T) { golden(t, schemaFile, string(Schema())) }

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	compiler.AssertFormat()
	if err := compiler.AddResource("ftr.schema.json", text); err != nil {
		t.Fatal(err)
	}
	s, err := compiler.Compile("ftr.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asEditor reads a file as an editor with a YAML language server does.
func asEditor(t *testing.T, data []byte) any {
	t.Helper()
	var tree any
	if err := yaml.Load(data, &tree); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestSchemaAccepts(t *testing.T) {
	s := compileSchema(t)
	files := map[string][]byte{
		"example":   []byte(Example()),
		"generated": []byte(Generate(found(), []string{"lan0", "br-lan"})),
		"many":      many(MaxUplinks, ""),
		"lines":     []byte(fileOfLines),
		"groups":    fmt.Appendf(nil, base, "", "groups: [{priority_group: 1, failback: move}]"),
		"targets":   fmt.Appendf(nil, base, `, targets: ["dns://9.9.9.9/example.com", {url: "https://1.1.1.1/", host: one.one.one.one, status: 204}]`, ""),
	}
	for _, name := range []string{"2015.conf", "2016.conf", "minimal.conf", "full.conf"} {
		files[name] = mustRead(t, filepath.Join(examples, name))
	}
	for name, data := range files {
		if err := s.Validate(asEditor(t, data)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSchemaRejects: what concerns one key alone is refused by the schema as by Parse.
func TestSchemaRejects(t *testing.T) {
	s := compileSchema(t)
	for _, name := range []string{
		"unknown-gatway", "unknown-top", "misplaced-key", "no-uplinks", "uplinks-empty", "uplinks-scalar", "uplinks-words", "no-downlinks", "lan-blank",
		"lan-list-null", "no-tests", "interface-missing", "interface-blank", "interface-long", "interface-slash", "interface-label",
		"type-unknown", "ip-name", "ip-octet", "ip-prefix", "ip-v6", "description-long", "group-word", "default-route-word", "weight-zero",
		"weight-big", "weight-huge", "weight-word", "weight-comma", "weight-list", "required-zero", "retries-zero", "interval-zero", "interval-negative",
		"interval-day", "interval-word", "interval-days", "table-zero", "table-big", "priority-one", "priority-over", "fwmark-zero", "mask-over",
		"log-relative", "log-scalar", "log-numbers", "paths-relative", "send-word", "sender-bad", "recipients-bad", "smtp-list", "smtp-port-high", "auth-typo",
		"starttls-word", "symbol-unknown", "symbol-elsewhere", "password-credential-bad", "password-list", "misspelt-password", "everything-wrong",
		"tests-damping", "tests-quality", "targets-section", "targets-unknown", "uplink-tests",
		"group-nameless", "group-failback", "policy-uplinks", "policy-match", "sets-wrong", "forwards-wrong", "firewall-word", "balance-word", "steer-zero",
	} {
		if err := s.Validate(asEditor(t, mustRead(t, filepath.Join(badFiles, name+".conf")))); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestSchemaKeys: the schema has the keys of the table with their documentation, and no others.
func TestSchemaKeys(t *testing.T) {
	var root map[string]any
	if err := json.Unmarshal(Schema(), &root); err != nil {
		t.Fatal(err)
	}
	documented := 0
	var walk func(node map[string]any)
	walk = func(node map[string]any) {
		properties, _ := node["properties"].(map[string]any)
		for name, value := range properties {
			one := value.(map[string]any)
			if text, _ := one["description"].(string); text == "" {
				t.Errorf("%s has no description", name)
			}
			documented++
			walk(one)
			if items, ok := one["items"].(map[string]any); ok {
				walk(items)
			}
			if name == "ipv6" { // a word or a section
				walk(one["anyOf"].([]any)[1].(map[string]any))
			}
		}
	}
	walk(root)
	if want := len(allKeys(table(new(draft)), "")); documented != want {
		t.Errorf("%d keys in the schema, %d in the table", documented, want)
	}
}
