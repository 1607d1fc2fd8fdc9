package emr

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Files are the pipeline's files as they lie in this folder.
//
//go:embed template.yaml cluster.yaml cluster-parameters.json input.json bootstrap.sh programs/preprocessing.py programs/model.py programs/broken.py machines/outer.asl.json machines/inner.asl.json
var Files embed.FS

// Parts are the parts of the pipeline that can be made to fail.
var Parts = []string{"preprocessing", "model", "launch", "delete"}

// DefaultModes are the processing modes of a run for which nobody names others.
var DefaultModes = []string{"TRAINING", "WEEKDAYS"}

// Keys in the pipeline's bucket.
const (
	InputPrefix   = "data/"
	TemplateKey   = "cluster.yaml"
	ParametersKey = "cluster-parameters.json"
	bootstrapKey  = "emr-bootstrap-scripts/bootstrap.sh"
	programPrefix = "testcode/"
)

// Settings say what one run of the pipeline is given.
type Settings struct {
	Bucket        string
	ModelName     string   // name of the cluster; PipelineTest_01 when empty
	Modes         []string // DefaultModes when empty
	Nodes         int      // core nodes; 2 when zero
	SecurityGroup string
	SubNet        string
	KeyPair       string // emrcluster-launch when empty
	Fail          string // one of Parts, or empty
}

func (s Settings) check() error {
	if s.Fail != "" && !slices.Contains(Parts, s.Fail) {
		return fmt.Errorf("no part of the pipeline is called %q; those that can fail are %s", s.Fail, strings.Join(Parts, ", "))
	}
	return nil
}

// Objects are what must lie in the bucket before an execution starts, by key: programs, the cluster's template and
// parameters, the bootstrap script. The data and the functions are not among them.
//
// A part fails by what it is given, not by a switch in the pipeline: a program that raises, a release label that EMR does
// not have, a cluster that refuses to be ended.
func Objects(s Settings) (map[string][]byte, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	out := map[string][]byte{TemplateKey: read("cluster.yaml"), bootstrapKey: read("bootstrap.sh")}
	for _, name := range []string{"preprocessing", "model"} {
		source := name
		if s.Fail == name {
			source = "broken"
		}
		out[programPrefix+name+".py"] = read("programs/" + source + ".py")
	}
	var parameters []map[string]string
	if err := json.Unmarshal(read("cluster-parameters.json"), &parameters); err != nil {
		return nil, err
	}
	set := func(key, value string) {
		for _, p := range parameters {
			if p["ParameterKey"] == key {
				p["ParameterValue"] = value
				return
			}
		}
		parameters = append(parameters, map[string]string{"ParameterKey": key, "ParameterValue": value})
	}
	if s.KeyPair != "" {
		set("EMRClusterKeyPair", s.KeyPair)
	}
	switch s.Fail {
	case "launch":
		set("EMRReleaseLabel", "emr-none")
	case "delete":
		set("TerminationProtected", "true")
	}
	body, err := json.MarshalIndent(parameters, "", "  ")
	if err != nil {
		return nil, err
	}
	out[ParametersKey] = body
	return out, nil
}

// KeyPair is the key pair that cluster-parameters.json names.
const KeyPair = "emrcluster-launch"

// Input is the input of the outer machine: input.json with its places filled in.
func Input(s Settings) []byte {
	in := map[string]any{}
	if err := json.Unmarshal(bytes.ReplaceAll(read("input.json"), []byte("<bucket>"), []byte(s.Bucket)), &in); err != nil {
		panic(err) // embedded, and tested
	}
	in["SecurityGroup"], in["SubNet"] = s.SecurityGroup, s.SubNet
	if s.ModelName != "" {
		in["ModelName"] = s.ModelName
	}
	if s.Nodes != 0 {
		in["ClusterSize"] = strconv.Itoa(s.Nodes)
	}
	if len(s.Modes) > 0 {
		in["ProcessingMode"] = s.Modes
	}
	out, err := json.MarshalIndent(in, "", "  ")
	if err != nil {
		panic(err)
	}
	return out
}

// Template is the pipeline's own CloudFormation template.
func Template() []byte { return read("template.yaml") }

// Parameters are the template's. The key of the functions comes from FunctionsKey.
func Parameters(s Settings, functionsKey, goarch, email string) map[string]string {
	arch := "x86_64"
	if goarch == "arm64" {
		arch = "arm64"
	}
	return map[string]string{"Bucket": s.Bucket, "FunctionsKey": functionsKey, "FunctionsArchitecture": arch, "NotificationEmail": email}
}

// BuildFunctions compiles the functions' program with the go command, in the module that holds this package, and packs it
// for Lambda. On AWS goos is linux; a local endpoint runs programs of its own system.
func BuildFunctions(ctx context.Context, moduleDir, goos, goarch string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "functions-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	bin := filepath.Join(dir, "bootstrap")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-tags", "lambda.norpc", "-o", bin, "./pipelines/emr/functions")
	cmd.Dir = moduleDir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+goarch)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the pipeline's functions: %w: %s", err, bytes.TrimSpace(out))
	}
	program, err := os.ReadFile(bin)
	if err != nil {
		return nil, err
	}
	return Bundle(program)
}

// Bundle packs a program as Lambda wants it: a zip with an executable bootstrap. Equal programs give equal bytes.
func Bundle(program []byte) ([]byte, error) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	h := &zip.FileHeader{Name: "bootstrap", Method: zip.Deflate}
	h.SetMode(0o755)
	w, err := z.CreateHeader(h)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(program); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// FunctionsKey is where a bundle lies: a new program has a new key, so that a deployment sees the change.
func FunctionsKey(bundle []byte) string {
	sum := sha256.Sum256(bundle)
	return "functions/" + hex.EncodeToString(sum[:8]) + ".zip"
}

func read(name string) []byte {
	b, err := Files.ReadFile(name)
	if err != nil {
		panic(err) // embedded
	}
	return b
}
