package asl

import (
	"fmt"
	"strings"

	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// JacksonText is the sentence in which AWS says that a definition is no JSON: that of its parser, Jackson, as far as it
// is known, and otherwise one of the same form.
func JacksonText(text []byte, err error) string {
	what, offset := jackson(text, err)
	line, column := 1, offset+1
	for i, c := range text[:offset] {
		if c == '\n' {
			line, column = line+1, offset-i
		}
	}
	source := string(text)
	if len(source) > 500 {
		source = source[:500] + "[truncated " + fmt.Sprint(len(text)-500) + " chars]"
	}
	return fmt.Sprintf("%s\n at [Source: (String)\"%s\"; line: %d, column: %d]", what, source, line, column)
}

// JacksonSentence is the same without the place, as AWS says it of an execution's input. Recorded in sfn_api.json
// (test_invalid_start_execution_input).
func JacksonSentence(text []byte, err error) string {
	what, _ := jackson(text, err)
	return what
}

func jackson(text []byte, err error) (string, int) {
	offset := 0
	what := err.Error()
	if e, ok := err.(*jsonvalue.SyntaxError); ok {
		offset, what = min(e.Offset, len(text)), e.Text
	}
	if offset == len(text) {
		if what = "Unexpected end-of-input"; strings.TrimSpace(string(text)) == "" {
			what = "No content to map due to end-of-input"
		}
	} else if end := tokenEnd(text, offset); end > offset {
		what = fmt.Sprintf("Unrecognized token '%s': was expecting (JSON String, Number, Array, Object or token 'null', 'true' or 'false')", text[offset:end])
		offset = end
	} else if where, ok := strings.CutPrefix(what, "unexpected character"); ok {
		what = fmt.Sprintf("Unexpected character ('%c' (code %d))", text[offset], text[offset])
		if strings.HasSuffix(where, "name should be") {
			what += ": was expecting double-quote to start field name"
		}
	}
	return what, offset
}

// tokenEnd is the end of the word that stands at offset.
func tokenEnd(text []byte, offset int) int {
	i := offset
	for i < len(text) && (text[i] == '_' || text[i] == '$' || text[i] >= '0' && text[i] <= '9' || text[i] >= 'A' && text[i] <= 'Z' || text[i] >= 'a' && text[i] <= 'z') {
		i++
	}
	return i
}
