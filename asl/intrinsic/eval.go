package intrinsic

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/mayfly-run/mayfly/asl/jsonpath"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// Env is what a call needs from its surroundings.
type Env struct {
	Path     func(p *jsonpath.Path) (jsonvalue.Value, error)
	Random   func() uint64
	MaxText  int // bytes that hashes and Base64 take; 0: no limit
	MaxArray int // bytes of an array argument; 0: no limit
	Usage    *Usage

	made int // bytes of all arguments so far
}

// maxMade is how many bytes the arguments of a call and of the calls within it may have together, unless four arrays of the
// largest size need more, or arrays have no limit: what is made of them is hardly larger.
const maxMade = 16 << 20

// Usage is the most that was taken of what MaxText and MaxArray bound.
type Usage struct{ Text, Array int }

// Error is why a call failed.
type Error struct {
	Path string // the argument that found nothing; "" for other reasons
	Text string
}

func (e *Error) Error() string { return e.Text }

func failf(format string, args ...any) error { return &Error{Text: fmt.Sprintf(format, args...)} }

type function struct {
	name     string
	min, max int // arguments; max -1: any number
	str      bool
	numeric  bool // takes numbers only
	eval     func(e *Env, c *Call, args []jsonvalue.Value) (jsonvalue.Value, error)
}

var functions = map[string]*function{}

func init() {
	for _, f := range []function{
		{"States.Format", 1, -1, true, false, format},
		{"States.StringToJson", 1, 1, false, false, stringToJSON},
		{"States.JsonToString", 1, 1, true, false, jsonToString},
		{"States.Array", 0, -1, false, false, array},
		{"States.ArrayPartition", 2, 2, false, false, arrayPartition},
		{"States.ArrayContains", 2, 2, false, false, arrayContains},
		{"States.ArrayRange", 3, 3, false, true, arrayRange},
		{"States.ArrayGetItem", 2, 2, true, false, arrayGetItem},
		{"States.ArrayLength", 1, 1, false, false, arrayLength},
		{"States.ArrayUnique", 1, 1, false, false, arrayUnique},
		{"States.Base64Encode", 1, 1, true, false, base64Encode},
		{"States.Base64Decode", 1, 1, true, false, base64Decode},
		{"States.Hash", 2, 2, true, false, hash},
		{"States.JsonMerge", 3, 3, false, false, jsonMerge},
		{"States.MathRandom", 2, 3, false, true, mathRandom},
		{"States.MathAdd", 2, 2, false, true, mathAdd},
		{"States.StringSplit", 2, 2, false, false, stringSplit},
		{"States.UUID", 0, 0, true, false, uuid},
	} {
		functions[f.name] = &f
	}
}

// Names are the names of all functions.
func Names() []string {
	var names []string
	for n := range functions {
		names = append(names, n)
	}
	return names
}

// Eval computes the call. Errors are *Error.
func (c *Call) Eval(e Env) (jsonvalue.Value, error) { return c.eval(&e) }

func (c *Call) eval(e *Env) (jsonvalue.Value, error) {
	args := make([]jsonvalue.Value, len(c.args))
	for i, a := range c.args {
		switch {
		case a.call != nil:
			v, err := a.call.eval(e)
			if err != nil {
				return v, err
			}
			args[i] = v
		case a.path != nil:
			v, err := e.Path(a.path)
			if err != nil {
				return v, &Error{Path: a.text, Text: err.Error()}
			}
			args[i] = v
		case !a.constant.IsZero():
			args[i] = a.constant
		default:
			args[i] = jsonvalue.Str(unescape(a.literal))
		}
		e.made += args[i].Size()
		if most := max(maxMade, 4*e.MaxArray); e.MaxArray > 0 && e.made > most {
			return jsonvalue.Value{}, failf("The arguments of %s exceed the maximum size of %d bytes", c.fn.name, most)
		}
	}
	return c.fn.eval(e, c, args)
}

func text(c *Call, args []jsonvalue.Value, i int) (string, error) {
	if args[i].Kind() != jsonvalue.KindString {
		return "", failf("Argument %d of %s must be a string, but was %s", i+1, c.fn.name, args[i].Kind())
	}
	return args[i].Str(), nil
}

func list(e *Env, c *Call, args []jsonvalue.Value, i int) (jsonvalue.Value, error) {
	if args[i].Kind() != jsonvalue.KindArray {
		return args[i], failf("Argument %d of %s must be an array, but was %s", i+1, c.fn.name, args[i].Kind())
	}
	if e.Usage != nil {
		e.Usage.Array = max(e.Usage.Array, args[i].Size())
	}
	if e.MaxArray > 0 && args[i].Size() > e.MaxArray {
		return args[i], failf("Argument %d of %s exceeds the maximum size of %d bytes", i+1, c.fn.name, e.MaxArray)
	}
	return args[i], nil
}

// integer rounds to the nearest, halves upward, as Java does. AWS: recorded in intrinsic_functions.json (test_math_add).
func integer(c *Call, args []jsonvalue.Value, i int) (int64, error) {
	if args[i].Kind() != jsonvalue.KindNumber {
		return 0, failf("Argument %d of %s must be a number, but was %s", i+1, c.fn.name, args[i].Kind())
	}
	if n, ok := args[i].Int(); ok {
		return n, nil
	}
	f := math.Floor(args[i].Float() + 0.5)
	if math.Abs(f) >= 1<<62 {
		return 0, failf("Argument %d of %s is too large", i+1, c.fn.name)
	}
	return int64(f), nil
}

func format(e *Env, c *Call, args []jsonvalue.Value) (jsonvalue.Value, error) {
	template := c.args[0].literal
	if c.args[0].call != nil || c.args[0].path != nil || !c.args[0].constant.IsZero() {
		var err error
		if template, err = text(c, args, 0); err != nil {
			return jsonvalue.Value{}, err
		}
	}
	var b strings.Builder
	next := 1
	for i := 0; i < len(template); i++ {
		switch {
		case template[i] == '\\':
			if i++; i == len(template) {
				return jsonvalue.Value{}, failf("An open backslash in the template of States.Format")
			}
			b.WriteByte(template[i])
		case strings.HasPrefix(template[i:], "{}"):
			if next == len(args) {
				return jsonvalue.Value{}, failf("Number of arguments do not match the occurrences of {} in the template")
			}
			b.WriteString(javaText(args[next]))
			next++
			i++
		default:
			b.WriteByte(template[i])
		}
	}
	if next != len(args) {
		return jsonvalue.Value{}, failf("Number of arguments do not match the occurrences of {} in the template")
	}
	return jsonvalue.Str(b.String()), nil
}

// javaText is a value as Java's toString writes it. AWS: recorded in intrinsic_functions.json (test_format_2):
// {"Arg1":1,"Arg2":[]} becomes {Arg1=1, Arg2=[]}.
func javaText(v jsonvalue.Value) string {
	switch v.Kind() {
	case jsonvalue.KindString:
		return v.Str()
	case jsonvalue.KindArray:
		var parts []string
		for m := range v.Elements() {
			parts = append(parts, javaText(m))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case jsonvalue.KindObject:
		var parts []string
		for name, m := range v.Members() {
			parts = append(parts, name+"="+javaText(m))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case jsonvalue.KindNumber:
		s := v.NumberText()
		if strings.ContainsAny(s, ".eE") {
			return javaDouble(v.Float())
		}
		return s
	}
	return v.String()
}

func javaDouble(f float64) string {
	if a := math.Abs(f); a != 0 && (a < 1e-3 || a >= 1e7) {
		s := strconv.FormatFloat(f, 'E', -1, 64)
		mantissa, exponent, _ := strings.Cut(s, "E")
		if !strings.Contains(mantissa, ".") {
			mantissa += ".0"
		}
		n, _ := strconv.Atoi(exponent)
		return mantissa + "E" + strconv.Itoa(n)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

func stringToJSON(e *Env, c *Call, args []jsonvalue.Value) (jsonvalue.Value, error) {
	s, err := text(c, args, 0)
	if err != nil {
		return jsonvalue.Value{}, err
	}
	if strings.TrimSpace(s) == "" { // AWS: recorded in intrinsic_functions.json (test_string_to_json)
		return jsonvalue.Null, nil
	}
	v, err := jsonvalue.Parse([]byte(s))
	if err != nil {
		return v, failf("The string is not valid JSON: %v", err)
	}
	if v.NumberText() == "-0" { // AWS: recorded in intrinsic_functions.json (test_string_to_json)
		return jsonvalue.Int(0), nil
	}
	return v, nil
}

func jsonToString(e *Env, c *Call, args []jsonvalue.Value) (jsonvalue.Value, error) {
	return jsonvalue.Str(args[0].String()), nil
}

func array(e *Env, c *Call, args []jsonvalue.Value) (jsonvalue.Value, error) {
	return jsonvalue.Array(args...), nil
}

func arrayPartition(e *Env, c *Call, args []jsonvalue.Value) (jsonvalue.Value, error) {
	a, err := list(e, c, args, 0)
	if err != nil {
		return a, err
	}
	size, err := integer(c, args, 1)
	if err != nil {
		return a, err
	}
	if size <= 0 {
		return a, failf("The chunk size of States.ArrayPartition must be a positive number, but was %d", size)
	}
	var chunks, chunk []jsonvalue.Value
	for m := range a.Elements() {
		if chunk = append(chunk, m); int64(len(chunk)) == size {
			chunks, chunk = append(chunks, jsonvalue.Array(chunk...)), nil
		}
	}
	if len(chunk) > 0 {
		chunks = append(chunks, jsonvalue.Array(chunk...))
	}
	return jsonvalue.Array(chunks...), nil
}

func arrayContains(e *Env, c *Call, args []jsonvalue.Value) (jsonvalue.Value, error) {
	a, err := list(e, c, args, 0)
	if err != nil {
		return a, err
	}
	for m := range a.Elements() {
		if jsonvalue.Equal(m, args[1]) {
			return jsonvalue.Bool(true), nil
		}
	}
	return jsonvalue.Bool(false), nil
}

func arrayRange(e *Env, c *Call, args []jsonvalue.Value) (jsonvalue.Value, error) {
	var n [3]int64
	for i := range n {
		var err error
		if n[i], err = integer(c, args, i); err != nil {
			return jsonvalue.Value{}, err
		}
		if n[i] > math.MaxInt32 || n[i] < math.MinInt32 {
			return jsonvalue.Value{}, failf("Argument %d of States.ArrayRange is out of range", i+1)
		}
	}
	first, last, step := n[0], n[1], n[2]
	if step == 0 {
		return jsonvalue.Value{}, failf("The step of States.ArrayRange must not be 0")
	}
	var out []jsonvalue.Value
	for i := first; step > 0 && i <= last || step < 0 && i >= last; i += step {
		if len(out) == 1000 {
			return jsonvalue.Value{}, failf("States.ArrayRange cannot make an array of more than 1000 items")
		}
		out = append(out, jsonvalue.Int(i))
	}
	return jsonvalue.Array(out...), nil
}

func arrayGetItem(e *Env, c *Call, args []jsonvalue.Value) (jsonvalue.Value, error) {
	a, err := list(e, c, args, 0)
	if err != nil {
		return a, err
	}
	i, err := integer(c, args, 1)
	if err != nil {
		return a, err
	}
	if i < 0 || i >= int64(a.Len()) {
		return a, failf("The index %d of States.ArrayGetItem is outside of an array of %d items", i, a.Len())
	}
	return a.Index(int(i)), nil
}

func arrayLength(e *Env, c *Call, args []jsonvalue.Value) (jsonvalue.Value, error) {
	a, err := list(e, c, args, 0)
	if err != nil {
		return a, err
	}
	return jsonvalue.Int(int64(a.Len())), nil
}

func arrayUnique(e *Env, c *Call, args []jsonvalue.Value) (jsonvalue.Value, error) {
	a, err := list(e, c, args, 0)
	if err != nil {
		return a, err
	}
	seen := map[string]bool{}
	var out []jsonvalue.Value
	for m := range a.Elements() {
		if key := canonical(m); !seen[key] {
			seen[key] = true
			out = append(out, m)
		}
	}
	return jsonvalue.Array(out...), nil
}

// canonical is a text that equal values share.
func canonical(v jsonvalue.Value) string {
	switch v.Kind() {
	case jsonvalue.KindNumber:
		if i, ok := v.Int(); ok {
			return strconv.FormatInt(i, 10)
		}
		return strconv.FormatFloat(v.Float(), 'g', -1, 64)
	case jsonvalue.KindArray:
		var parts []string
		for m := range v.Elements() {
			parts = append(parts, canonical(m))
		}
		return "[" + strings.Join(parts, ",") + "]"
	case jsonvalue.KindObject:
		var parts []string
		for name, m := range v.Keyed() {
			parts = append(parts, name.String()+":"+canonical(m))
		}
		slices.Sort(parts)
		return "{" + strings.Join(parts, ",") + "}"
	}
	return v.String()
}

func (e *Env) long(s string) bool {
	if e.Usage != nil {
		e.Usage.Text = max(e.Usage.Text, len(s))
	}
	return e.MaxText > 0 && len(s) > e.MaxText
}

func limited(e *Env, c *Call, args []jsonvalue.Value) (string, error) {
	s, err := text(c, args, 0)
	if err == nil && e.long(s) {
		err = failf("The argument of %s exceeds the maximum length of %d characters", c.fn.name, e.MaxText)
	}
	return s, err
}

func base64Encode(e *Env, c *Call, args []jsonvalue.Value) (jsonvalue.Value, error) {
	s, err := limited(e, c, args)
	if err != nil {
		return jsonvalue.Value{}, err
	}
	return jsonvalue.Str(base64.StdEncoding.EncodeToString([]byte(s))), nil
}

func base64Decode(e *Env, c *Call, args []jsonvalue.Value) (jsonvalue.Value, error) {
	s, err := limited(e, c, args)
	if err != nil {
		return jsonvalue.Value{}, err
	}
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		if b, err = base64.RawStdEncoding.DecodeString(strings.TrimRight(s, "=")); err != nil {
			return jsonvalue.Value{}, failf("The argument of States.Base64Decode is not valid Base64")
		}
	}
	return jsonvalue.Str(strings.ToValidUTF8(string(b), string(utf8.RuneError))), nil
}

func hash(e *Env, c *Call, args []jsonvalue.Value) (jsonvalue.Value, error) {
	data := args[0]
	s := data.Str()
	if data.Kind() != jsonvalue.KindString {
		s = data.String()
	}
	if e.long(s) {
		return jsonvalue.Value{}, failf("The argument of States.Hash exceeds the maximum length of %d characters", e.MaxText)
	}
	algorithm, err := text(c, args, 1)
	if err != nil {
		return jsonvalue.Value{}, err
	}
	b := []byte(s)
	var sum []byte
	switch algorithm {
	case "MD5":
		h := md5.Sum(b)
		sum = h[:]
	case "SHA-1":
		h := sha1.Sum(b)
		sum = h[:]
	case "SHA-256":
		h := sha256.Sum256(b)
		sum = h[:]
	case "SHA-384":
		h := sha512.Sum384(b)
		sum = h[:]
	case "SHA-512":
		h := sha512.Sum512(b)
		sum = h[:]
	default:
		return jsonvalue.Value{}, failf("The algorithm %s of States.Hash is none of MD5, SHA-1, SHA-256, SHA-384, SHA-512", algorithm)
	}
	return jsonvalue.Str(hex.EncodeToString(sum)), nil
}

func jsonMerge(e *Env, c *Call, args []jsonvalue.Value) (jsonvalue.Value, error) {
	for i := range 2 {
		if args[i].Kind() != jsonvalue.KindObject {
			return args[i], failf("Argument %d of States.JsonMerge must be an object, but was %s", i+1, args[i].Kind())
		}
	}
	if args[2].Kind() != jsonvalue.KindBool || args[2].Bool() {
		return args[2], failf("States.JsonMerge only supports shallow merging: its third argument must be false")
	}
	var members []jsonvalue.Member
	for _, o := range args[:2] {
		for name, m := range o.Members() {
			members = append(members, jsonvalue.M(name, m))
		}
	}
	return jsonvalue.Object(members...), nil
}

func mathRandom(e *Env, c *Call, args []jsonvalue.Value) (jsonvalue.Value, error) {
	from, err := integer(c, args, 0)
	if err != nil {
		return jsonvalue.Value{}, err
	}
	to, err := integer(c, args, 1)
	if err != nil {
		return jsonvalue.Value{}, err
	}
	for i, n := range []int64{from, to} {
		if n > math.MaxInt32 || n < math.MinInt32 {
			return jsonvalue.Value{}, failf("Argument %d of States.MathRandom is out of range", i+1)
		}
	}
	if from >= to {
		return jsonvalue.Value{}, failf("The start of States.MathRandom must be less than its end")
	}
	var draw uint64
	if len(args) == 3 {
		seed, err := integer(c, args, 2)
		if err != nil {
			return jsonvalue.Value{}, err
		}
		draw = rand.New(rand.NewPCG(uint64(seed), 0)).Uint64()
	} else if e.Random == nil {
		return jsonvalue.Value{}, failf("no random numbers here")
	} else {
		draw = e.Random()
	}
	return jsonvalue.Int(from + int64(draw%uint64(to-from))), nil
}

func mathAdd(e *Env, c *Call, args []jsonvalue.Value) (jsonvalue.Value, error) {
	a, err := integer(c, args, 0)
	if err != nil {
		return jsonvalue.Value{}, err
	}
	b, err := integer(c, args, 1)
	if err != nil {
		return jsonvalue.Value{}, err
	}
	for _, n := range []int64{a, b, a + b} {
		if n > math.MaxInt32 || n < math.MinInt32 {
			return jsonvalue.Value{}, failf("States.MathAdd computes between -2147483648 and 2147483647")
		}
	}
	return jsonvalue.Int(a + b), nil
}

func stringSplit(e *Env, c *Call, args []jsonvalue.Value) (jsonvalue.Value, error) {
	s, err := text(c, args, 0)
	if err != nil {
		return jsonvalue.Value{}, err
	}
	separators, err := text(c, args, 1)
	if err != nil {
		return jsonvalue.Value{}, err
	}
	var out []jsonvalue.Value
	splits := map[rune]bool{}
	for _, r := range separators {
		splits[r] = true
	}
	for _, part := range strings.FieldsFunc(s, func(r rune) bool { return splits[r] }) {
		out = append(out, jsonvalue.Str(part))
	}
	return jsonvalue.Array(out...), nil
}

func uuid(e *Env, c *Call, args []jsonvalue.Value) (jsonvalue.Value, error) {
	if e.Random == nil {
		return jsonvalue.Value{}, failf("no random numbers here")
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], e.Random())
	binary.BigEndian.PutUint64(b[8:], e.Random())
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	h := hex.EncodeToString(b[:])
	return jsonvalue.Str(h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]), nil
}
