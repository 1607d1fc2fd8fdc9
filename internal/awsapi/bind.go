package awsapi

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync"
	"time"
)

// plan says how a generated struct's fields are named in a document. It is made once for each type.
type plan struct {
	fields []field
	byName map[string]int // index into fields
}

type field struct {
	name     string
	index    int
	optional bool // absent when zero: pointers, slices, maps, streams
}

var (
	plans    sync.Map // reflect.Type → *plan
	timeType = reflect.TypeFor[time.Time]()
)

func planOf(t reflect.Type) *plan {
	if p, ok := plans.Load(t); ok {
		return p.(*plan)
	}
	p := &plan{byName: map[string]int{}}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "-" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		p.byName[name] = len(p.fields)
		optional := false
		switch f.Type.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface:
			optional = true
		}
		p.fields = append(p.fields, field{name: name, index: i, optional: optional})
	}
	old, _ := plans.LoadOrStore(t, p)
	return old.(*plan)
}

// ToDocument is a generated struct, or a pointer to one, as a document tree. Absent members are left out.
func ToDocument(v any) map[string]any {
	doc, _ := tree(reflect.ValueOf(v)).(map[string]any)
	if doc == nil {
		doc = map[string]any{}
	}
	return doc
}

// ToTree is any Go value (scalars, slices, maps with string keys, generated structs) as a document value.
func ToTree(v any) any { return tree(reflect.ValueOf(v)) }

func tree(v reflect.Value) any {
	if !v.IsValid() {
		return nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		if v.Elem().Kind() != reflect.Struct || v.Elem().Type() == timeType {
			return tree(v.Elem())
		}
		if isStream(v) {
			return v.Interface()
		}
		return tree(v.Elem())
	case reflect.Interface:
		if v.IsNil() {
			return nil
		}
		if isStream(v) {
			return v.Interface()
		}
		return tree(v.Elem())
	case reflect.Struct:
		if v.Type() == timeType || isStream(v) {
			return v.Interface()
		}
		p := planOf(v.Type())
		doc := make(map[string]any, len(p.fields))
		for _, f := range p.fields {
			fv := v.Field(f.index)
			if f.optional && fv.IsNil() {
				continue
			}
			doc[f.name] = tree(fv)
		}
		return doc
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			if v.Kind() == reflect.Slice {
				return v.Bytes()
			}
			return fmt.Sprint(v.Interface())
		}
		list := make([]any, v.Len())
		for i := range list {
			list[i] = tree(v.Index(i))
		}
		return list
	case reflect.Map:
		if v.IsNil() {
			return nil
		}
		doc := make(map[string]any, v.Len())
		for it := v.MapRange(); it.Next(); {
			doc[it.Key().String()] = tree(it.Value())
		}
		return doc
	case reflect.String:
		if n, ok := v.Interface().(json.Number); ok {
			return n
		}
		return v.String()
	case reflect.Bool:
		return v.Bool()
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return v.Int()
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return int64(v.Uint())
	case reflect.Float32, reflect.Float64:
		return v.Float()
	}
	return v.Interface()
}

func isStream(v reflect.Value) bool {
	_, ok := v.Interface().(io.Reader)
	return ok
}

// FromDocument fills the generated struct that ptr points to. Members that the struct does not have are an error: the
// document has passed the model by then, so they can only come of a mistake here.
func FromDocument(doc map[string]any, ptr any) error {
	return bindStruct(doc, reflect.ValueOf(ptr).Elem())
}

func bindStruct(doc map[string]any, v reflect.Value) error {
	p := planOf(v.Type())
	for name, x := range doc {
		if x == nil {
			continue
		}
		i, ok := p.byName[name]
		if !ok {
			return fmt.Errorf("%s has no member %s", v.Type(), name)
		}
		if err := bind(x, v.Field(p.fields[i].index)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func bind(x any, v reflect.Value) error {
	mismatch := func() error { return fmt.Errorf("%T for %s", x, v.Type()) }
	if v.Type() == timeType {
		t, ok := x.(time.Time)
		if !ok {
			return mismatch()
		}
		v.Set(reflect.ValueOf(t))
		return nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return bind(x, v.Elem())
	case reflect.Struct:
		doc, ok := x.(map[string]any)
		if !ok {
			return mismatch()
		}
		return bindStruct(doc, v)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			b, ok := x.([]byte)
			if !ok {
				return mismatch()
			}
			if b == nil {
				b = []byte{}
			}
			v.SetBytes(b)
			return nil
		}
		list, ok := x.([]any)
		if !ok {
			return mismatch()
		}
		v.Set(reflect.MakeSlice(v.Type(), len(list), len(list)))
		for i, e := range list {
			if e == nil {
				continue
			}
			if err := bind(e, v.Index(i)); err != nil {
				return fmt.Errorf("%d: %w", i, err)
			}
		}
		return nil
	case reflect.Map:
		doc, ok := x.(map[string]any)
		if !ok {
			return mismatch()
		}
		v.Set(reflect.MakeMapWithSize(v.Type(), len(doc)))
		for k, e := range doc {
			ev := reflect.New(v.Type().Elem()).Elem()
			if e != nil {
				if err := bind(e, ev); err != nil {
					return fmt.Errorf("%s: %w", k, err)
				}
			}
			v.SetMapIndex(reflect.ValueOf(k), ev)
		}
		return nil
	case reflect.String:
		s, ok := x.(string)
		if !ok {
			return mismatch()
		}
		v.SetString(s)
		return nil
	case reflect.Bool:
		b, ok := x.(bool)
		if !ok {
			return mismatch()
		}
		v.SetBool(b)
		return nil
	case reflect.Int64:
		n, ok := x.(int64)
		if !ok {
			return mismatch()
		}
		v.SetInt(n)
		return nil
	case reflect.Float64:
		switch n := x.(type) {
		case float64:
			v.SetFloat(n)
		case int64:
			v.SetFloat(float64(n))
		default:
			return mismatch()
		}
		return nil
	case reflect.Interface:
		xv := reflect.ValueOf(x)
		if !xv.Type().AssignableTo(v.Type()) {
			return mismatch()
		}
		v.Set(xv)
		return nil
	}
	return mismatch()
}
