package cli

import "testing"

func TestAMachineIsWeighedByItsMemory(t *testing.T) {
	for gib, want := range map[uint64]string{2: fail, 4: warn, 24: good} {
		f := finding{Check: "machine", Status: good}
		if f.weigh(gib << 30); f.Status != want || want != good && f.Advice == "" {
			t.Errorf("%d GiB: %+v, want %s", gib, f, want)
		}
	}
}
