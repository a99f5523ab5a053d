package config

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

// maxDepth is the deepest nesting accepted. A configuration needs 4.
const maxDepth = 16

// readTree reads the one YAML document of a text as a tree of nodes with their places. An empty
// document is a nil node.
func readTree(data []byte) (*yaml.Node, *Problem) {
	limits := loaderlimits.New(loaderlimits.DepthValue(maxDepth))
	loader, err := yaml.NewLoader(bytes.NewReader(data), yaml.WithPlugin(limits))
	if err != nil {
		return nil, syntaxProblem(err, data)
	}
	var first, second yaml.Node
	switch err := loader.Load(&first); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, syntaxProblem(err, data)
	}
	switch err := loader.Load(&second); {
	case err == nil:
		return nil, &Problem{Line: second.Line, Column: second.Column, Message: "a second YAML document begins here; the file must hold one: remove the line ---"}
	case !errors.Is(err, io.EOF):
		return nil, syntaxProblem(err, data)
	}
	if len(first.Content) == 0 {
		return nil, nil
	}
	return first.Content[0], nil
}

// syntaxProblem turns an error of the YAML library into a problem in words for those who never read
// the YAML specification. The library's own text is not used: it may quote the file.
func syntaxProblem(err error, data []byte) *Problem {
	var load *yaml.LoadError
	if !errors.As(err, &load) {
		return &Problem{Message: "the file is not valid YAML"}
	}
	mark := load.Mark
	if mark.Line == 0 {
		mark = load.ContextMark
	}
	problem := &Problem{Line: mark.Line, Column: mark.Column}
	if mark.Line > 0 {
		problem.Column = max(1, mark.Column)
	}
	problem.Message = "not valid YAML: " + explain(load.Message, characterAt(data, mark.Index))
	return problem
}

// characterAt returns the byte at an offset counted in bytes, or 0.
func characterAt(data []byte, offset int) byte {
	if offset < 0 || offset >= len(data) {
		return 0
	}
	return data[offset]
}

// explain says what an administrator should look for, given the library's message and the character
// at its place.
func explain(message string, at byte) string {
	has := func(part string) bool { return strings.Contains(message, part) }
	switch {
	case at == '\t', has("tab"):
		return "a tab is used where only blanks may indent"
	case has("cannot start any token"):
		return "a value may not begin with this character; put the value in quotes"
	case has("mapping values are not allowed"):
		return `a colon is not expected here; is the line before complete, is the indentation right, does a value with ": " need quotes?`
	case has("unknown anchor"):
		return "the value begins with * and so refers to an anchor that does not exist; put it in quotes if it is text"
	case has("max depth"):
		return "the nesting is too deep"
	case has("expected ':'"):
		return "a colon and a blank are expected after a key"
	case has("end of stream"):
		return "the file ends before a quote is closed"
	case has("escape"), has("hexadecimal"):
		return `a backslash in "..." begins an escape that does not exist; use '...' instead`
	case has("',' or"):
		return "a comma or a closing bracket is expected"
	case has("tag"), has("URI"):
		return "the value begins with ! and so is a tag; put it in quotes if it is text"
	case has("alphabetic or numeric"):
		return "the value begins with & or * and so is an anchor or alias; put it in quotes if it is text"
	case has("comment or line break"):
		return "a value that begins with | or > continues on the next line; put it in quotes if it is text"
	case has("directive"), has("version number"):
		return "a line that begins with % is a directive; put it in quotes if it is text"
	case has("document"):
		return "the document ends here, and more follows; is the indentation right?"
	}
	return "the structure breaks here; are indentation, dashes and quotes right?"
}
