package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// HealthPath is answered with 200 and a Health once the server is ready.
const HealthPath = "/_mayfly/health"

// Health says which server answers: so a client can name one that it did not expect.
type Health struct {
	Status   string   `json:"status"` // "ok"
	Version  string   `json:"version"`
	PID      int      `json:"pid"`
	DataDir  string   `json:"dataDir"`           // absolute
	MailDir  string   `json:"mailDir,omitempty"` // where mail is kept; absent when it is delivered
	Endpoint string   `json:"endpoint"`
	Started  string   `json:"started"` // RFC 3339
	Services []string `json:"services"`
}

// ErrForeign says that something answers at the address that is no Mayfly.
type ErrForeign struct{ Address, Answer string }

func (e *ErrForeign) Error() string {
	return fmt.Sprintf("%s is taken by another program (it answered %s); choose another address with --listen", e.Address, e.Answer)
}

// Ask asks the server at an address how it is. The error is an *ErrForeign when another program answers, and the network's
// when nothing does.
func Ask(ctx context.Context, address string) (Health, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var h Health
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+HealthPath, nil)
	if err != nil {
		return h, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return h, err
	}
	defer res.Body.Close()
	err = json.NewDecoder(http.MaxBytesReader(nil, res.Body, 1<<20)).Decode(&h)
	if res.StatusCode != http.StatusOK || err != nil || h.Status == "" {
		return h, &ErrForeign{address, res.Status}
	}
	return h, nil
}
