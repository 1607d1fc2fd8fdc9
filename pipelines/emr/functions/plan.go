package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Plan is all that the execution will do, worked out before it does anything.
type Plan struct {
	Execution     string // the execution's name
	ExecutionArn  string
	ModelName     string
	StackName     string
	Template      location
	ParameterFile location
	Parameters    map[string]string // what the pipeline can give to a template that asks for it
	Output        string            // s3://…/<execution>
	Modes         []Mode
}

// Mode is one processing mode.
type Mode struct {
	Mode          string // as the input spells it, and as the programs get it
	Output        string // s3://…/<execution>/<folder>
	Preprocessing Step
	Model         Step
}

// Step is one program's run.
type Step struct {
	Name   string
	Args   []string
	Output string
}

// input is the outer machine's input: the article's members, then ours, which have defaults.
type input struct {
	ModelName, ModelProgram, PreProcessingProgram string
	EMRCloudFormation, EMRParameters              string
	JobInput, SecurityGroup, SubNet               string
	ClusterSize                                   json.RawMessage // "4" or 4
	ProcessingMode                                []string
	OutputRoot                                    string // s3://<the pipeline's bucket>/output
	MaxClusters                                   int    // the largest k that preprocessing tries; 6
}

const (
	maxModes     = 20
	maxModeChars = 64
	maxNodes     = 50
	defaultMaxK  = 6
)

type validateRequest struct {
	Input        json.RawMessage
	Execution    string
	ExecutionArn string
}

// validate refuses what cannot work, with all reasons at once, and answers the plan.
func (a *app) validate(ctx context.Context, in validateRequest) (*Plan, error) {
	var problems []string
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }

	var x input
	if !bytes.HasPrefix(bytes.TrimSpace(in.Input), []byte("{")) {
		return nil, failf("Input.Invalid", "The input must be an object with the members ModelName, ModelProgram, PreProcessingProgram, EMRCloudFormation, EMRParameters, JobInput, SecurityGroup, SubNet, ClusterSize and ProcessingMode.")
	}
	if err := readInput(in.Input, &x); err != nil {
		return nil, failf("Input.Invalid", "%v", err)
	}

	place := func(name, value string, object bool) location {
		if value == "" {
			problem("%s is missing", name)
			return location{}
		}
		l, err := parseLocation(value)
		switch {
		case err != nil:
			problem("%s: %v", name, err)
		case object && (l.Key == "" || strings.HasSuffix(l.Key, "/")):
			problem("%s: %s names no object", name, value)
		case object && l.Bucket != a.bucket:
			problem("%s lies in the bucket %s; this pipeline works with %s", name, l.Bucket, a.bucket)
		}
		return l
	}
	if strings.TrimSpace(x.ModelName) == "" {
		problem("ModelName is missing")
	} else if len(x.ModelName) > 128 || strings.ContainsAny(x.ModelName, "<>$|`\n\r\t") {
		problem("ModelName names the cluster: at most 128 characters, none of < > $ | ` or line breaks")
	}
	model := place("ModelProgram", x.ModelProgram, true)
	preprocessing := place("PreProcessingProgram", x.PreProcessingProgram, true)
	template := place("EMRCloudFormation", x.EMRCloudFormation, true)
	parameters := place("EMRParameters", x.EMRParameters, true)
	data := place("JobInput", x.JobInput, false)
	if x.OutputRoot == "" {
		x.OutputRoot = "s3://" + a.bucket + "/output"
	}
	root := place("OutputRoot", x.OutputRoot, false)
	if root.Bucket != "" && root.Bucket != a.bucket {
		problem("OutputRoot lies in the bucket %s; this pipeline writes to %s", root.Bucket, a.bucket)
	}
	if !strings.HasPrefix(x.SecurityGroup, "sg-") {
		problem("SecurityGroup must be a security group's id (sg-…), not %q", x.SecurityGroup)
	}
	if !strings.HasPrefix(x.SubNet, "subnet-") {
		problem("SubNet must be a subnet's id (subnet-…), not %q", x.SubNet)
	}
	nodes, err := strconv.Atoi(strings.Trim(string(x.ClusterSize), `"`))
	if err != nil || nodes < 1 || nodes > maxNodes {
		problem("ClusterSize must be a number of nodes from 1 to %d, not %s", maxNodes, orMissing(string(x.ClusterSize)))
	}
	if x.MaxClusters == 0 {
		x.MaxClusters = defaultMaxK
	}
	if x.MaxClusters < 1 || x.MaxClusters > 50 {
		problem("MaxClusters must be from 1 to 50, not %d", x.MaxClusters)
	}
	problems = append(problems, modeProblems(x.ProcessingMode)...)
	if in.Execution == "" || in.ExecutionArn == "" {
		problem("the execution's name and ARN are missing from the call")
	}
	if len(problems) > 0 {
		return nil, failf("Input.Invalid", "%s.", strings.Join(problems, "; "))
	}

	id := shortHash(in.ExecutionArn)
	p := &Plan{
		Execution: in.Execution, ExecutionArn: in.ExecutionArn, ModelName: x.ModelName,
		StackName: "emr-" + clean(x.ModelName, 40) + "-" + id,
		Template:  template, ParameterFile: parameters,
		Output: strings.TrimSuffix(root.String(), "/") + "/" + in.Execution,
		Parameters: map[string]string{
			"ModelName": x.ModelName, "ClusterSize": strconv.Itoa(nodes), "SubNet": x.SubNet, "SubnetA": x.SubNet, "EMRClusterSubnet": x.SubNet,
			"SecurityGroup": x.SecurityGroup, "AdditionalMasterSecurityGroup": x.SecurityGroup,
			"BootstrapBucket": a.bucket, "OutputBucket": a.bucket, "InputBucket": data.Bucket,
		},
	}
	folders := map[string]bool{}
	for _, mode := range x.ProcessingMode {
		folder := mode
		for n := 0; n == 0 && !folderName.MatchString(mode) || folders[folder]; n++ {
			folder = clean(mode, 40) + "-" + shortHash(mode, strconv.Itoa(n))
		}
		folders[folder] = true
		m := Mode{Mode: mode, Output: p.Output + "/" + folder}
		first, second := m.Output+"/preprocessing", m.Output+"/model"
		m.Preprocessing = Step{Name: "preprocessing " + mode, Output: first,
			Args: submit(preprocessing, x.JobInput, strconv.Itoa(x.MaxClusters), mode, first)}
		m.Model = Step{Name: "model " + mode, Output: second, Args: submit(model, x.JobInput, first, mode, second)}
		p.Modes = append(p.Modes, m)
	}

	for _, o := range []struct {
		name string
		at   location
	}{{"ModelProgram", model}, {"PreProcessingProgram", preprocessing}} {
		_, err := a.call(ctx, "s3", "HeadObject", map[string]any{"Bucket": o.at.Bucket, "Key": o.at.Key})
		if missing(err) {
			problem("%s: %s does not exist", o.name, o.at)
		} else if err != nil {
			return nil, err
		}
	}
	prefix := strings.SplitN(data.Key, "*", 2)[0]
	found, err := a.call(ctx, "s3", "ListObjectsV2", map[string]any{"Bucket": data.Bucket, "Prefix": prefix, "MaxKeys": int64(1)})
	switch {
	case missing(err):
		problem("JobInput: the bucket %s does not exist", data.Bucket)
	case refused(err, "AccessDenied", "AllAccessDisabled"):
		// Only the cluster's role may read it; then the program will tell.
	case err != nil:
		return nil, err
	case len(list(found, "Contents")) == 0:
		problem("JobInput: nothing lies under %s", data)
	}
	if _, _, err := a.stackParameters(ctx, p); err != nil {
		var named *failure
		if !errors.As(err, &named) && !errors.Is(err, errMissing) {
			return nil, err
		}
		problem("%s", strings.TrimPrefix(err.Error(), "Input.Invalid: "))
	}
	if len(problems) > 0 {
		return nil, failf("Input.Invalid", "%s.", strings.Join(problems, "; "))
	}
	return p, nil
}

func orMissing(s string) string {
	if s == "" || s == `""` {
		return "none"
	}
	return s
}

// readInput refuses members that it does not know: a misspelled one would be silently without effect.
func readInput(raw []byte, x *input) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		return err
	}
	delete(members, "Comment")
	delete(members, "AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID") // put there by a parent execution
	rest, err := json.Marshal(members)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(rest))
	d.DisallowUnknownFields()
	if err := d.Decode(x); err != nil {
		var kind *json.UnmarshalTypeError
		if errors.As(err, &kind) {
			return fmt.Errorf("%s must not be a JSON %s", kind.Field, kind.Value)
		}
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}

func modeProblems(modes []string) []string {
	if len(modes) == 0 {
		return []string{"ProcessingMode is empty: there is nothing to run"}
	}
	var out []string
	if len(modes) > maxModes {
		out = append(out, fmt.Sprintf("ProcessingMode has %d values, more than %d", len(modes), maxModes))
	}
	seen := map[string]bool{}
	for _, m := range modes {
		switch {
		case strings.TrimSpace(m) == "":
			out = append(out, "ProcessingMode has an empty value")
		case len(m) > maxModeChars || strings.ContainsFunc(m, func(r rune) bool { return r < ' ' || r == 0x7f }):
			out = append(out, fmt.Sprintf("the processing mode %q is longer than %d bytes or has control characters", m, maxModeChars))
		case seen[m]:
			out = append(out, fmt.Sprintf("ProcessingMode has %q twice", m))
		}
		seen[m] = true
	}
	return out
}

func submit(program location, args ...string) []string {
	return append([]string{"spark-submit", "--deploy-mode", "client", "--master", "yarn", program.String()}, args...)
}

var (
	folderName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*$`)
	notName    = regexp.MustCompile(`[^A-Za-z0-9]+`)
)

// clean makes of any text a part of a name: letters, digits and single hyphens, at most n characters.
func clean(s string, n int) string {
	s = strings.Trim(notName.ReplaceAllString(s, "-"), "-")
	if len(s) > n {
		s = strings.TrimRight(s[:n], "-")
	}
	if s == "" {
		return "x"
	}
	return s
}

func shortHash(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:6])
}

// stackParameters reads template and parameter file and answers the template's text and the parameters of the stack: the
// file's, and what the pipeline knows where the template declares it. The execution's own values win.
func (a *app) stackParameters(ctx context.Context, p *Plan) (string, []any, error) {
	template, err := a.get(ctx, p.Template)
	if err != nil {
		return "", nil, err
	}
	file, err := a.get(ctx, p.ParameterFile)
	if err != nil {
		return "", nil, err
	}
	given, err := readParameters(file)
	if err != nil {
		return "", nil, failf("Input.Invalid", "%s: %v", p.ParameterFile, err)
	}
	var doc struct {
		Parameters map[string]struct {
			Default yaml.Node `yaml:"Default"`
		} `yaml:"Parameters"`
		Resources map[string]yaml.Node `yaml:"Resources"`
		Outputs   map[string]yaml.Node `yaml:"Outputs"`
	}
	if err := yaml.Unmarshal(template, &doc); err != nil {
		return "", nil, failf("Input.Invalid", "%s is no template: %v", p.Template, err)
	}
	if len(doc.Resources) == 0 {
		return "", nil, failf("Input.Invalid", "%s has no resources", p.Template)
	}
	if _, ok := doc.Outputs[clusterOutput]; !ok {
		return "", nil, failf("Input.Invalid", "%s has no output %s, from which the pipeline learns the cluster's id", p.Template, clusterOutput)
	}
	for name, value := range p.Parameters {
		if _, declared := doc.Parameters[name]; declared {
			given[name] = value
		}
	}
	var without, unknown []string
	for _, name := range slices.Sorted(maps.Keys(doc.Parameters)) {
		if _, ok := given[name]; !ok && doc.Parameters[name].Default.Kind == 0 {
			without = append(without, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if _, ok := doc.Parameters[name]; !ok {
			unknown = append(unknown, name)
		}
	}
	if len(without) > 0 {
		return "", nil, failf("Input.Invalid", "the parameters %s of %s have no value", strings.Join(without, ", "), p.Template)
	}
	if len(unknown) > 0 {
		return "", nil, failf("Input.Invalid", "the parameters %s of %s do not exist in %s", strings.Join(unknown, ", "), p.ParameterFile, path.Base(p.Template.Key))
	}
	out := []any{}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		out = append(out, map[string]any{"ParameterKey": name, "ParameterValue": given[name]})
	}
	return string(template), out, nil
}

// readParameters reads a parameter file: the list that the AWS CLI takes, or an object of names and values.
func readParameters(file []byte) (map[string]string, error) {
	out := map[string]string{}
	if bytes.HasPrefix(bytes.TrimSpace(file), []byte("{")) {
		return out, json.Unmarshal(file, &out)
	}
	var entries []struct{ ParameterKey, ParameterValue *string }
	if err := json.Unmarshal(file, &entries); err != nil {
		return nil, err
	}
	for i, e := range entries {
		if e.ParameterKey == nil || e.ParameterValue == nil {
			return nil, fmt.Errorf("entry %d has no ParameterKey or no ParameterValue", i)
		}
		if _, twice := out[*e.ParameterKey]; twice {
			return nil, fmt.Errorf("%s is there twice", *e.ParameterKey)
		}
		out[*e.ParameterKey] = *e.ParameterValue
	}
	return out, nil
}
