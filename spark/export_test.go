package spark

import "testing"

// SetJars makes setup expect other jars than those of jars.sha256.
func SetJars(t testing.TB, sums string) {
	old := jarSums
	jarSums = sums
	t.Cleanup(func() { jarSums = old })
}

// SetArchiveWait is for executors that write nothing.
func SetArchiveWait(t testing.TB, tenths int) {
	old := archiveWait
	archiveWait = tenths
	t.Cleanup(func() { archiveWait = old })
}
