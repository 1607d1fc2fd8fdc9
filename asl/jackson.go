package asl

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// JacksonText is the sentence in which AWS says that a definition is no JSON: that of its parser, Jackson, as far as it
// is known, and otherwise one of the same form.
func JacksonText(text []byte, err error) string {
	what, offset := jackson(text, err)
	before := string(text[:offset])
	line := 1 + strings.Count(before, "\n")
	column := 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
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

// wants are the ends of Jackson's sentences about a character that should not be there, by those of the parser's.
var wants = []struct{ where, sentence string }{
	{"where a value should be", "expected a valid value " + jsonValues},
	{"where a member's name should be", "was expecting double-quote to start field name"},
	{"after a member's name", "was expecting a colon to separate field name and value"},
	{"after a member", "was expecting comma to separate Object entries"},
	{"after an array element", "was expecting comma to separate Array entries"},
}

const jsonValues = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')"

// jackson is the sentence about an error, and how far Jackson has read when it says so.
func jackson(text []byte, err error) (string, int) {
	e, ok := err.(*jsonvalue.SyntaxError)
	if !ok {
		return err.Error(), 0
	}
	offset := min(e.Offset, len(text))
	if offset == len(text) {
		if strings.TrimSpace(string(text)) == "" {
			return "No content to map due to end-of-input", offset
		}
		return "Unexpected end-of-input", offset
	}
	if end := tokenEnd(text, offset); end > offset && strings.HasSuffix(e.Text, wants[0].where) {
		return fmt.Sprintf("Unrecognized token '%s': was expecting %s", text[offset:end], jsonValues), end
	}
	if !strings.HasPrefix(e.Text, "unexpected character") {
		return e.Text, offset
	}
	r, size := utf8.DecodeRune(text[offset:])
	what := fmt.Sprintf("'%c' (code %d)", r, r)
	switch {
	case r > 255:
		what = fmt.Sprintf("'%c' (code %d / 0x%x)", r, r, r)
	case unicode.IsControl(r):
		what = fmt.Sprintf("(CTRL-CHAR, code %d)", r)
	}
	what = "Unexpected character (" + what + ")"
	for _, w := range wants {
		if strings.HasSuffix(e.Text, w.where) {
			what += ": " + w.sentence
			break
		}
	}
	return what, offset + size
}

// tokenEnd is the end of the word that stands at offset.
func tokenEnd(text []byte, offset int) int {
	i := offset
	for i < len(text) && (text[i] == '_' || text[i] == '$' || text[i] >= '0' && text[i] <= '9' || text[i] >= 'A' && text[i] <= 'Z' || text[i] >= 'a' && text[i] <= 'z') {
		i++
	}
	return i
}
