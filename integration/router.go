package integration

import "context"

// Router sends the tasks of some services elsewhere than the rest.
type Router struct {
	Integration                        // of the rest
	ByService   map[string]Integration // by the service of the Resource, e.g. "http"
}

var _ Integration = Router{}

func (r Router) of(service string) Integration {
	if i, ok := r.ByService[service]; ok {
		return i
	}
	return r.Integration
}

// Start implements Integration.
func (r Router) Start(ctx context.Context, t Task) (Result, error) {
	return r.of(t.Resource.Service).Start(ctx, t)
}

// Poll implements Integration.
func (r Router) Poll(ctx context.Context, j Job) (Result, error) {
	return r.of(j.Resource.Service).Poll(ctx, j)
}

// Cancel implements Integration.
func (r Router) Cancel(ctx context.Context, j Job) error {
	return r.of(j.Resource.Service).Cancel(ctx, j)
}

// Watches implements Integration.
func (r Router) Watches(j Job) []string { return r.of(j.Resource.Service).Watches(j) }
