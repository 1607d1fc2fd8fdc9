package emr

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/execution"
)

var update = flag.Bool("update", false, "write the machines into template.yaml")

var machines = map[string]string{"MLStateMachine": "machines/outer.asl.json", "StepStateMachine": "machines/inner.asl.json"}

// TestTemplateHoldsMachines: the machines are files of their own, and the template, which has to stand alone, holds
// their text.
func TestTemplateHoldsMachines(t *testing.T) {
	if *update {
		text := string(Template())
		for id, file := range machines {
			head, rest, ok := strings.Cut(text, "  "+id+":\n")
			block, tail, ok2 := strings.Cut(rest, "      DefinitionString: |\n")
			if !ok || !ok2 {
				t.Fatalf("the template has no %s", id)
			}
			_, tail, _ = strings.Cut(tail, "\n        }\n")
			var b strings.Builder
			for line := range strings.Lines(string(read(file))) {
				b.WriteString("        " + line)
			}
			text = head + "  " + id + ":\n" + block + "      DefinitionString: |\n" + b.String() + tail
		}
		if err := os.WriteFile("template.yaml", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		t.Log("written; run again")
		return
	}
	for id, file := range machines {
		if got := property(t, Template(), id, "DefinitionString"); got != string(read(file))+"\n" && got != string(read(file)) {
			t.Errorf("%s of the template is not %s: go test ./pipelines/emr -update", id, file)
		}
	}
	if n := len(Template()); n > 51200 {
		t.Errorf("the template has %d bytes; without a bucket, 51200 can be deployed", n)
	}
}

type document struct {
	Parameters map[string]yaml.Node
	Resources  map[string]struct {
		Type       string
		Properties map[string]yaml.Node
	}
	Outputs map[string]yaml.Node
}

func load(t *testing.T, text []byte) document {
	t.Helper()
	var fields struct {
		Parameters map[string]yaml.Node `yaml:"Parameters"`
		Resources  map[string]struct {
			Type       string               `yaml:"Type"`
			Properties map[string]yaml.Node `yaml:"Properties"`
		} `yaml:"Resources"`
		Outputs map[string]yaml.Node `yaml:"Outputs"`
	}
	if err := yaml.Unmarshal(text, &fields); err != nil {
		t.Fatal(err)
	}
	d := document{Parameters: fields.Parameters, Outputs: fields.Outputs, Resources: map[string]struct {
		Type       string
		Properties map[string]yaml.Node
	}{}}
	for id, r := range fields.Resources {
		d.Resources[id] = struct {
			Type       string
			Properties map[string]yaml.Node
		}{r.Type, r.Properties}
	}
	return d
}

func property(t *testing.T, text []byte, id, name string) string {
	t.Helper()
	n := load(t, text).Resources[id].Properties[name]
	return n.Value
}

// supported are the resource types that the pipeline may use.
var supported = []string{"AWS::IAM::Role", "AWS::IAM::InstanceProfile", "AWS::EMR::Cluster", "AWS::SNS::Topic", "AWS::SNS::Subscription",
	"AWS::Lambda::Function", "AWS::Lambda::Permission", "AWS::StepFunctions::StateMachine"}

func TestTemplates(t *testing.T) {
	names := regexp.MustCompile(`(RoleName|FunctionName|StateMachineName|TopicName|InstanceProfileName)$`)
	for _, file := range []string{"template.yaml", "cluster.yaml"} {
		d := load(t, read(file))
		if len(d.Resources) == 0 {
			t.Fatalf("%s has no resources", file)
		}
		for id, r := range d.Resources {
			if !slices.Contains(supported, r.Type) {
				t.Errorf("%s: %s is a %s", file, id, r.Type)
			}
			for name := range r.Properties {
				if names.MatchString(name) && r.Type != "AWS::Lambda::Permission" {
					t.Errorf("%s: %s has a %s; generated names cannot collide", file, id, name)
				}
			}
		}
	}
	if _, ok := load(t, read("cluster.yaml")).Outputs["EMRClusterID"]; !ok {
		t.Error("cluster.yaml does not tell the cluster's id")
	}
	want := load(t, Template()).Parameters
	got := Parameters(Settings{Bucket: "bkt"}, "functions/x.zip", "arm64", "a@b.c")
	for name := range want {
		if got[name] == "" {
			t.Errorf("Parameters gives no %s", name)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("the template has no parameter %s", name)
		}
	}
}

func machine(t *testing.T, file string) *asl.StateMachine {
	t.Helper()
	text := regexp.MustCompile(`\$\{(\w+)\}`).ReplaceAll(read(file), []byte("arn:aws:lambda:us-east-1:000000000000:function:$1"))
	m, ds := asl.Parse(text, asl.ParseOptions{Resource: func(arn string) error { _, err := execution.ParseResource(arn); return err }})
	for _, d := range ds {
		t.Errorf("%s: %s", file, d)
	}
	if m == nil {
		t.FailNow()
	}
	return m
}

// TestTimeouts: every task has a time-out, every token a heartbeat, and every retry jitter or a fixed slow pace.
func TestTimeouts(t *testing.T) {
	for _, file := range machines {
		var m map[string]any
		if err := json.Unmarshal(read(file), &m); err != nil {
			t.Fatal(err)
		}
		if m["TimeoutSeconds"] == nil {
			t.Errorf("%s has no time-out", file)
		}
		tasks := 0
		walk(m, func(s map[string]any) {
			if s["Type"] != "Task" {
				return
			}
			tasks++
			resource := s["Resource"].(string)
			if s["TimeoutSeconds"] == nil {
				t.Errorf("%s: %s has no time-out", file, resource)
			}
			if strings.HasSuffix(resource, ".waitForTaskToken") && s["HeartbeatSeconds"] == nil {
				t.Errorf("%s: %s has no heartbeat", file, resource)
			}
			if strings.Contains(string(mustJSON(t, s["Retry"])), `"States.ALL"`) {
				t.Errorf("%s: %s retries every error alike", file, resource)
			}
			retriers, _ := s["Retry"].([]any)
			for _, r := range retriers {
				r := r.(map[string]any)
				if r["MaxAttempts"] == 0.0 || r["BackoffRate"] == 1.0 && r["MaxAttempts"] != nil {
					continue
				}
				if most, bounded := r["MaxAttempts"].(float64); r["JitterStrategy"] != "FULL" || !bounded || most > 3 && r["MaxDelaySeconds"] == nil {
					t.Errorf("%s: %s retries %v without jitter, or without bounds", file, resource, r["ErrorEquals"])
				}
			}
		})
		if tasks == 0 {
			t.Errorf("%s has no task", file)
		}
	}
}

func walk(v any, visit func(map[string]any)) {
	switch v := v.(type) {
	case map[string]any:
		visit(v)
		for _, x := range v {
			walk(x, visit)
		}
	case []any:
		for _, x := range v {
			walk(x, visit)
		}
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestObjects(t *testing.T) {
	s := Settings{Bucket: "bkt", SecurityGroup: "sg-1", SubNet: "subnet-1", KeyPair: "mine"}
	plain, err := Objects(s)
	if err != nil {
		t.Fatal(err)
	}
	var in map[string]any
	if err := json.Unmarshal(Input(s), &in); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ModelProgram", "PreProcessingProgram", "EMRCloudFormation", "EMRParameters"} {
		where := in[name].(string)
		key := where[strings.Index(where, "bkt/")+4:]
		if len(plain[key]) == 0 {
			t.Errorf("%s is %s, and no object is there", name, where)
		}
	}
	if strings.Contains(string(Input(s)), "<") || in["ClusterSize"] != "2" {
		t.Errorf("input %s", Input(s))
	}
	if !strings.Contains(string(plain[ParametersKey]), `"mine"`) {
		t.Error("the key pair is not among the parameters")
	}
	for part, key := range map[string]string{"preprocessing": "testcode/preprocessing.py", "model": "testcode/model.py", "launch": ParametersKey, "delete": ParametersKey} {
		s.Fail = part
		broken, err := Objects(s)
		if err != nil {
			t.Fatal(err)
		}
		for k := range plain {
			if same := bytes.Equal(plain[k], broken[k]); same == (k == key) {
				t.Errorf("%s fails: %s is the same: %v", part, k, same)
			}
		}
	}
	s.Fail = "everything"
	if _, err := Objects(s); err == nil || !strings.Contains(err.Error(), "preprocessing, model, launch, delete") {
		t.Errorf("an unknown part: %v", err)
	}
}

func TestBuildFunctions(t *testing.T) {
	b, err := BuildFunctions(t.Context(), "../..", "linux", "amd64")
	if err != nil {
		t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if len(z.File) != 1 || z.File[0].Name != "bootstrap" || z.File[0].Mode()&0o111 == 0 {
		t.Fatalf("the zip holds %v", z.File[0].FileHeader)
	}
	f, err := z.File[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	magic := make([]byte, 4)
	if _, err := io.ReadFull(f, magic); err != nil || string(magic) != "\x7fELF" {
		t.Errorf("bootstrap begins with %q, %v", magic, err)
	}
	again, err := Bundle([]byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	more, _ := Bundle([]byte("x"))
	if FunctionsKey(again) != FunctionsKey(more) || FunctionsKey(again) == FunctionsKey(b) {
		t.Error("the key must follow from the program")
	}
}
