package stack

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// randomTemplate draws resources that refer only to earlier ones. Some verbs fail, some creations take a while.
func randomTemplate(t *rapid.T, label string, failures bool) string {
	var b strings.Builder
	b.WriteString("Resources:\n")
	n := rapid.IntRange(1, 6).Draw(t, label+" count")
	var names []string
	for i := range n {
		name := string(rune('A' + rapid.IntRange(0, 7).Draw(t, fmt.Sprintf("%s name %d", label, i))))
		if slices.Contains(names, name) {
			continue
		}
		fmt.Fprintf(&b, "  %s: {Type: T::T::T, Properties: {X: %d, Fixed: %d", name, rapid.IntRange(0, 1).Draw(t, "x"), rapid.IntRange(0, 1).Draw(t, "fixed"))
		if len(names) > 0 && rapid.Bool().Draw(t, "refers") {
			fmt.Fprintf(&b, ", To: !Ref %s", rapid.SampledFrom(names).Draw(t, "to"))
		}
		if rapid.Bool().Draw(t, "waits") {
			fmt.Fprintf(&b, ", Wait: %d", rapid.IntRange(1, 3).Draw(t, "wait"))
		}
		if failures && rapid.IntRange(0, 5).Draw(t, "fails") == 0 {
			fmt.Fprintf(&b, ", Fail: %s", rapid.SampledFrom([]string{"create", "update", "wait"}).Draw(t, "fail"))
		}
		b.WriteString("}}\n")
		names = append(names, name)
	}
	return b.String()
}

// Whatever is made, changed, fails, crashes or is deleted in between: a stack comes to an end, what lives is what it says
// it has, and after a deletion that nothing resists nothing lives.
func TestRandom(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, rapid.Bool().Draw(rt, "crash"))
		w.choose = func(n int) int { return rapid.IntRange(0, n-1).Draw(rt, "next") }
		templates := map[string]string{"first": randomTemplate(rt, "first", true)}
		part := func(name string) string { return templates[name] }
		async := func() string {
			if rapid.IntRange(0, 3).Draw(rt, "async") == 0 {
				return " &"
			}
			return ""
		}
		w.tell("create first on-failure="+rapid.SampledFrom([]string{"ROLLBACK", "DELETE", "DO_NOTHING"}).Draw(rt, "on failure")+async(), part)
		for i := range rapid.IntRange(0, 3).Draw(rt, "steps") {
			switch rapid.IntRange(0, 3).Draw(rt, "step") {
			case 0:
				w.tell("delete"+async(), part)
			case 1:
				w.tell("cancel-update", part)
			default:
				name := fmt.Sprint("update", i)
				templates[name] = randomTemplate(rt, name, true)
				w.tell("update "+name+" on-failure="+rapid.SampledFrom([]string{"ROLLBACK", "DO_NOTHING"}).Draw(rt, "on failure")+async(), part)
			}
			if rapid.Bool().Draw(rt, "some") && len(w.pending) > 0 {
				w.step()
			}
		}
		w.run()
		check := func() {
			if w.state.Op != nil {
				rt.Fatalf("%s is not over:\n%s", w.state.Op.Phase, w.out.String())
			}
			has := map[string]bool{}
			for _, r := range w.state.Resources {
				if r.Physical != "" && r.Status != DeleteComplete {
					has[r.Physical] = true
				}
				if r.Work != nil {
					rt.Fatalf("%s still works:\n%s", r.Key, w.out.String())
				}
			}
			if !maps.Equal(has, w.alive) {
				rt.Fatalf("has %v, alive %v:\n%s", has, w.alive, w.out.String())
			}
		}
		check()
		w.tell("delete", part)
		check()
		if w.state.Status != DeleteComplete || len(w.alive) != 0 {
			rt.Fatalf("%s with %v alive:\n%s", w.state.Status, w.alive, w.out.String())
		}
	})
}
