package daemon

import (
	"testing"

	"github.com/mayfly-run/mayfly/internal/awscall"
)

// TestCredentials asks a state who it is: the execution's role, or that of the state's Credentials.
func TestCredentials(t *testing.T) {
	s := start(t, Settings{Listen: "127.0.0.1:0", DataDir: t.TempDir()})
	defer s.Stop()
	call := func(op string, in map[string]any) map[string]any {
		t.Helper()
		out, err := s.parts.gateway.Invoke(t.Context(), awscall.Call{Service: "states", Operation: op, Input: in})
		if err != nil {
			t.Fatalf("%s: %v", op, err)
		}
		return out
	}
	const who = `"Type":"Task","Resource":"arn:aws:states:::aws-sdk:sts:getCallerIdentity","Parameters":{},"ResultSelector":{"a.$":"$.Arn"}`
	machine := call("CreateStateMachine", map[string]any{"name": "m", "roleArn": "arn:aws:iam::000000000000:role/own", "type": "EXPRESS", "definition": `{"StartAt":"A","States":{
		"A":{` + who + `,"ResultPath":"$.own","Next":"B"},
		"B":{` + who + `,"Credentials":{"RoleArn":"arn:aws:iam::000000000000:role/path/other"},"ResultPath":"$.other","Next":"C"},
		"C":{` + who + `,"Credentials":{"RoleArn.$":"$.role"},"ResultPath":"$.there","Next":"D"},
		"D":{"Type":"Pass","Parameters":{"all.$":"States.Array($.own.a,$.other.a,$.there.a)"},"OutputPath":"$.all","End":true}}}`})
	out := call("StartSyncExecution", map[string]any{"stateMachineArn": machine["stateMachineArn"], "name": "x", "input": `{"role":"arn:aws:iam::111111111111:role/there"}`})
	const sts = "arn:aws:sts::000000000000:assumed-role/"
	if want := `["` + sts + `own/x","` + sts + `other/x","arn:aws:sts::111111111111:assumed-role/there/x"]`; out["output"] != want {
		t.Errorf("%v, want %s", out, want)
	}
}
