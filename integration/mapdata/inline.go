package mapdata

import (
	"context"
	"fmt"
	"strconv"

	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// inline reads the items of a state's own data. Its cursor is the index of the next one.
type inline struct {
	items jsonvalue.Value
	next  int
}

func openInline(items jsonvalue.Value, cursor string) (*inline, error) {
	r := &inline{items: items}
	if cursor != "" {
		n, err := strconv.Atoi(cursor)
		if err != nil || n < 0 || n > items.Len() {
			return nil, fmt.Errorf("cursor %q is not in %d items", cursor, items.Len())
		}
		r.next = n
	}
	return r, nil
}

func (r *inline) Next(_ context.Context, max int) (items []Item, cursor string, done bool, err error) {
	end := min(r.next+max, r.items.Len())
	if r.items.Kind() == jsonvalue.KindObject {
		i := 0
		for key, value := range r.items.Members() {
			if i >= r.next && i < end {
				items = append(items, Item{Index: int64(i), Key: key, Keyed: true, Value: value, Source: "STATE_DATA"})
			}
			i++
		}
	} else {
		for i := r.next; i < end; i++ {
			items = append(items, Item{Index: int64(i), Value: r.items.Index(i), Source: "STATE_DATA"})
		}
	}
	r.next = end
	return items, strconv.Itoa(end), end == r.items.Len(), nil
}

func (*inline) Close() error { return nil }
