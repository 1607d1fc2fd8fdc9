package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/mayfly-run/mayfly/engine"
	"github.com/mayfly-run/mayfly/services/emr"
	"github.com/mayfly-run/mayfly/services/emr/host"
	"github.com/mayfly-run/mayfly/spark"
)

// Settings are all that can be configured. Each has one name: --data-dir, MAYFLY_DATA_DIR and data-dir in the file are the
// same, in that order of weight.
type Settings struct {
	Listen         string `name:"listen" default:"127.0.0.1:4566" help:"address that the AWS APIs are served on"`
	DataDir        string `name:"data-dir" default:".mayfly" help:"folder of everything that the server keeps"`
	LogLevel       string `name:"log-level" default:"info" oneof:"debug,info,warn,error" help:"least level that is logged"`
	LogFormat      string `name:"log-format" default:"text" oneof:"text,json" help:"form of the log"`
	AccessKey      string `name:"access-key" help:"access key that callers must sign with; without one every key is accepted"`
	SecretKey      string `name:"secret-key" secret:"true" help:"secret of access-key"`
	SMTP           string `name:"smtp" help:"smtp://[user:password@]host[:port], server that delivers mail; without one mail is kept in the data directory"`
	SMTPFrom       string `name:"smtp-from" help:"sender of mail"`
	PlainHTTP      string `name:"plain-http" default:"loopback" oneof:"none,loopback,all" help:"where HTTP tasks may go without https: nowhere, as on AWS, to this machine, or everywhere"`
	CacheDir       string `name:"cache" help:"folder of what mayfly setup brings; the user's cache directory by default"`
	Cores          string `name:"cores" help:"cores that all clusters together may have; four times the machine's by default, since clusters that wait use none"`
	Memory         string `name:"memory" help:"memory that all clusters together may have, such as 12g; three quarters of the machine's by default"`
	Python         string `name:"python" help:"interpreter of Lambda functions in Python; the one with boto3 that mayfly setup brings by default"`
	SparkVersion   string `name:"spark-version" help:"version of Spark; the newest that EMR runs by default"`
	SparkHome      string `name:"spark-home" help:"an installed Spark to use instead of the one that mayfly setup brings"`
	Remote         string `name:"remote" help:"services, by signing name and with commas between, whose calls go to AWS itself, e.g. dynamodb,glue; they are signed with this machine's AWS credentials"`
	RemoteEndpoint string `name:"remote-endpoint" help:"base URL that those calls go to instead of AWS's own endpoints"`
	Limits         string `name:"limits" default:"aws" help:"quotas: those of AWS (aws), relaxed ones, and single ones after it, e.g. payload=1MiB,history=50000,duration=400d (docs/limits.md); mayfly execution limits tells where a run would have broken on AWS"`
	Retention      string `name:"retention" default:"90d" help:"how long executions are kept after their end, and their names are taken; 0 keeps them for ever"`
	StatusEvents   string `name:"status-events" help:"ARN of an SQS queue that gets EventBridge's events of executions that start, end or are redriven"`
	MockConfig     string `name:"mock-config" help:"file of mocked results in the form of Step Functions Local; executions started as ARN#TestCase use them"`
}

// keep is how long executions are kept after their end; 0 is for ever.
func (s Settings) keep() (time.Duration, error) {
	if s.Retention == "" {
		return engine.DefaultRetention, nil
	}
	text := s.Retention
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err == nil {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("setting retention: %q is neither a time such as 90d or 36h nor 0", text)
	}
	return d, nil
}

// Budget is what clusters may have of this machine: the defaults of package emr where nothing is set.
func (s Settings) Budget() (host.Budget, error) {
	b := emr.DefaultBudget()
	if s.Cores != "" {
		n, err := strconv.Atoi(s.Cores)
		if err != nil || n < 1 || n > 1<<16 {
			return b, fmt.Errorf("setting cores: %q is no number from 1 to 65536", s.Cores)
		}
		b.Cores = n
	}
	if s.Memory != "" {
		mb, err := spark.Megabytes(s.Memory)
		if err != nil {
			return b, fmt.Errorf("setting memory: %w", err)
		}
		if least := host.Least().MemoryMB; mb < least {
			return b, fmt.Errorf("setting memory: the smallest cluster needs %d MiB, and %s is %d", least, s.Memory, mb)
		}
		b.MemoryMB = mb
	}
	return b, nil
}

// Setting is one setting as it is in force.
type Setting struct {
	Name, Value, Origin, Help string
	Secret                    bool
}

// fields lists the settings with their places in s.
func fields(s *Settings) []field {
	v := reflect.ValueOf(s).Elem()
	out := make([]field, v.NumField())
	for i := range out {
		f := v.Type().Field(i)
		out[i] = field{name: f.Tag.Get("name"), tag: f.Tag, value: v.Field(i)}
	}
	return out
}

type field struct {
	name  string
	tag   reflect.StructTag
	value reflect.Value
}

func (f field) set(text string) error {
	if allowed := f.tag.Get("oneof"); allowed != "" && !slices.Contains(strings.Split(allowed, ","), text) {
		return fmt.Errorf("%q is none of %s", text, strings.ReplaceAll(allowed, ",", ", "))
	}
	f.value.SetString(text)
	return nil
}

// Names lists the names of all settings with their help texts and defaults.
func Names() []Setting {
	var s Settings
	var out []Setting
	for _, f := range fields(&s) {
		out = append(out, Setting{Name: f.name, Value: f.tag.Get("default"), Help: f.tag.Get("help")})
	}
	return out
}

// Load puts the settings together: flags (by name; only those that were given), the environment, the file, the defaults.
// file is the path of the settings file; one that is not there is no error unless it must be.
func Load(flags map[string]string, getenv func(string) string, file string, must bool) (Settings, []Setting, error) {
	var s Settings
	var inForce []Setting
	kept, err := readFile(file, must)
	if err != nil {
		return s, nil, err
	}
	var bad []error
	for _, f := range fields(&s) {
		env := "MAYFLY_" + strings.ToUpper(strings.ReplaceAll(f.name, "-", "_"))
		in := Setting{Name: f.name, Help: f.tag.Get("help"), Secret: f.tag.Get("secret") != ""}
		text, ok := flags[f.name]
		switch fromFile, inFile := kept[f.name]; {
		case ok:
			in.Value, in.Origin = text, "flag --"+f.name
		case getenv(env) != "":
			in.Value, in.Origin = getenv(env), "environment "+env
		case inFile:
			in.Value, in.Origin = fromFile, "file "+file
		default:
			in.Value, in.Origin = f.tag.Get("default"), "default"
		}
		delete(kept, f.name)
		if in.Value != "" {
			if err := f.set(in.Value); err != nil {
				bad = append(bad, fmt.Errorf("setting %s from %s: %w", f.name, in.Origin, err))
			}
		}
		inForce = append(inForce, in)
	}
	if _, err := s.Budget(); err != nil {
		bad = append(bad, err)
	}
	for name := range kept {
		bad = append(bad, fmt.Errorf("%s: no setting is named %q; mayfly config lists them", file, name))
	}
	return s, inForce, errors.Join(bad...)
}

func readFile(path string, must bool) (map[string]string, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && !must {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	var doc map[string]yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return nil, fmt.Errorf("settings file %s: %w", path, err)
	}
	out := map[string]string{}
	for name, node := range doc {
		if node.Kind != yaml.ScalarNode {
			return nil, fmt.Errorf("settings file %s, line %d: %s is not a plain value", path, node.Line, name)
		}
		out[name] = node.Value
	}
	return out, nil
}
