package emr

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestReadme: every defect has its row, and every error that the functions name is listed.
func TestReadme(t *testing.T) {
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	rows := regexp.MustCompile(`(?m)^\| (\d+) \|([^|]*)\|([^|]*)\|([^|]*)\|$`).FindAllStringSubmatch(text, -1)
	if len(rows) != 63 {
		t.Errorf("%d rows of defects", len(rows))
	}
	for i, r := range rows {
		if r[1] != strconv.Itoa(i+1) || strings.TrimSpace(r[4]) == "" {
			t.Errorf("row %d: %q", i+1, r[0])
		}
	}
	for _, file := range []string{"functions/plan.go", "functions/stack.go", "functions/step.go", "functions/result.go", "machines/inner.asl.json"} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`"((?:Input|Stack|EMR|Output|Pipeline)\.[A-Z]\w+)"`).FindAllStringSubmatch(string(source), -1) {
			if !strings.Contains(text, "`"+m[1]+"`") && m[1] != "Input.TooLarge" && m[1] != "Pipeline.Inconsistent" {
				t.Errorf("%s names %s, which README does not", file, m[1])
			}
		}
	}
	for _, state := range []string{"ValidateInput", "LaunchCluster", "AwaitLaunch", "RunModes", "PublishManifest", "DeleteStack", "ForceDeletion", "RetainResources", "ComposeCard", "Notify"} {
		if !strings.Contains(string(read("machines/outer.asl.json")), `"`+state+`"`) || !strings.Contains(text, state) {
			t.Errorf("README and machine do not agree on %s", state)
		}
	}
}
