package cli

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/daemon"
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
			older := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_ = json.NewEncoder(w).Encode(daemon.Health{Status: "ok", Version: "v0.0.1", DataDir: "/older"})
			}))
			e.Defer(older.Close)
			e.Setenv("OLDER", older.Listener.Addr().String())
			e.Setenv("HOME", e.WorkDir)
			bin, _, _ := strings.Cut(e.Getenv("PATH"), string(os.PathListSeparator))
			e.Setenv("BIN", bin) // mayfly alone
			return l.Close()
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// api SERVICE OPERATION FILE makes a call with the document in the file, as any client does, and sets $ANSWER.
			"api": func(ts *testscript.TestScript, neg bool, args []string) {
				var in map[string]any
				if err := json.Unmarshal([]byte(ts.ReadFile(args[2])), &in); err != nil {
					ts.Fatalf("%s: %v", args[2], err)
				}
				out, err := remote("http://"+ts.Getenv("ADDRESS"), daemon.Settings{}).Invoke(t.Context(), awscall.Call{Service: args[0], Operation: args[1], Input: in})
				if (err != nil) != neg {
					ts.Fatalf("%s %s: %v", args[0], args[1], err)
				}
				b, err := json.Marshal(out)
				if err != nil {
					ts.Fatalf("%v", err)
				}
				ts.Setenv("ANSWER", string(b))
			},
			// answer matches the last answer.
			"answer": func(ts *testscript.TestScript, neg bool, args []string) {
				if found := regexp.MustCompile(args[0]).MatchString(ts.Getenv("ANSWER")); found == neg {
					ts.Fatalf("the answer was %s", ts.Getenv("ANSWER"))
				}
			},
			// ended waits until an execution has ended; negated, until there is none.
			"ended": func(ts *testscript.TestScript, neg bool, args []string) {
				for {
					out, err := remote("http://"+ts.Getenv("ADDRESS"), daemon.Settings{}).Invoke(t.Context(),
						awscall.Call{Service: "states", Operation: "DescribeExecution", Input: map[string]any{"executionArn": args[0]}})
					var refused *awsapi.Error
					switch {
					case neg && errors.As(err, &refused) && refused.Code == "ExecutionDoesNotExist":
						return
					case err != nil:
						ts.Fatalf("%v", err)
					case !neg && out["status"] != "RUNNING":
						return
					}
				}
			},
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
