package memory_test

import (
	"testing"

	"github.com/mayfly-run/mayfly/store"
	"github.com/mayfly-run/mayfly/store/memory"
	"github.com/mayfly-run/mayfly/store/storetest"
)

func TestContract(t *testing.T) {
	storetest.Run(t, func() (store.Store, func() store.Store, func()) {
		return memory.New(), nil, func() {}
	})
}
