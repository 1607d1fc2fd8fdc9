package cloudformation_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly/spark"
)

// cli finds the AWS command line: the one that mayfly setup brought, or the one on the PATH.
func cli(t *testing.T) string {
	t.Helper()
	if in, err := spark.Find(spark.Options{}); err == nil {
		return in.AWS()
	}
	aws, err := exec.LookPath("aws")
	if err == nil {
		return aws
	}
	if os.Getenv("MAYFLY_TEST_ALL") != "" {
		t.Fatal("no AWS command line: run mayfly setup")
	}
	t.Skip("no AWS command line on this machine; mayfly setup brings it")
	return ""
}

// The real client deploys, executes a change set, deletes and waits: its waiters end at their first look.
func TestCommandLine(t *testing.T) {
	if testing.Short() {
		t.Skip("the real client runs in make test")
	}
	aws := cli(t)
	w := newWorld(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "t.yaml")
	template := "Resources:\n  Role: {Type: AWS::IAM::Role, Properties: {AssumeRolePolicyDocument: {Version: 2012-10-17}}}\nOutputs:\n  R: {Value: !Ref Role}\n"
	if err := os.WriteFile(file, []byte(template), 0o644); err != nil {
		t.Fatal(err)
	}
	run := func(want string, args ...string) string {
		t.Helper()
		cmd := exec.Command(aws, append([]string{"cloudformation"}, args...)...)
		cmd.Env = append(os.Environ(), "AWS_ENDPOINT_URL="+w.http.URL, "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_DEFAULT_REGION=us-east-1",
			"AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null")
		b, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(b), want) {
			t.Fatalf("%v: %v\n%s", args, err, b)
		}
		return string(b)
	}
	run("Successfully created/updated stack - one", "deploy", "--stack-name", "one", "--template-file", file, "--capabilities", "CAPABILITY_IAM")
	run("one-Role-", "describe-stacks", "--stack-name", "one", "--query", "Stacks[0].Outputs[0].OutputValue")
	run("changeSet/c/", "create-change-set", "--stack-name", "two", "--change-set-name", "c", "--change-set-type", "CREATE", "--template-body", template, "--capabilities", "CAPABILITY_IAM")
	run("", "wait", "change-set-create-complete", "--stack-name", "two", "--change-set-name", "c")
	run("", "execute-change-set", "--stack-name", "two", "--change-set-name", "c")
	run("", "wait", "stack-create-complete", "--stack-name", "two")
	run("CREATE_COMPLETE", "describe-stack-events", "--stack-name", "two")
	run("AWS::IAM::Role", "list-stack-resources", "--stack-name", "two")
	run("CAPABILITY_IAM", "validate-template", "--template-body", template)
	for _, name := range []string{"one", "two"} {
		run("", "delete-stack", "--stack-name", name)
		run("", "wait", "stack-delete-complete", "--stack-name", name)
	}
	if len(w.roles) != 0 {
		t.Errorf("left: %v", w.roles)
	}
}
