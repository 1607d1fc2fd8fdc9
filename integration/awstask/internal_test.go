package awstask

import "testing"

func TestJavaDouble(t *testing.T) {
	for f, want := range map[float64]string{1763855000.123: "1.763855000123E9", 1763855000: "1.763855E9", 2e9: "2.0E9", 12.5: "12.5", 0: "0.0", -1e7: "-1.0E7", 1e-4: "1.0E-4"} {
		if got := javaDouble(f); got != want {
			t.Errorf("%v is %s, expected %s", f, got, want)
		}
	}
}
