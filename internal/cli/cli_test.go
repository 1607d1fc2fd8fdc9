package cli

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"mayfly": func() { os.Exit(Main(os.Args[1:])) }})
}

// TestScripts runs the stories in testdata/script, each with the real program in a folder of its own.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			e.Setenv("ADDRESS", l.Addr().String())
			other := httptest.NewServer(http.NotFoundHandler())
			e.Defer(other.Close)
			e.Setenv("OTHER", other.Listener.Addr().String())
			e.Setenv("HOME", e.WorkDir)
			return l.Close()
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// ready waits until a server answers at the address.
			"ready": func(ts *testscript.TestScript, neg bool, args []string) {
				ctx := t.Context()
				for {
					res, err := http.Get("http://" + args[0] + "/_mayfly/health")
					if err == nil {
						res.Body.Close()
						if res.StatusCode == http.StatusOK {
							return
						}
					}
					if err := pause(ctx, 10*time.Millisecond); err != nil {
						ts.Fatalf("%v", err)
					}
				}
			},
		},
	})
}
