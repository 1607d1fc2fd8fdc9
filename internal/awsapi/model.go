package awsapi

import (
	"bytes"
	"compress/gzip"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync"
)

// Model is one service's API: the operations that were kept and the shapes that they reach.
type Model struct {
	Metadata   Metadata              `json:"metadata"`
	Operations map[string]*Operation `json:"operations"`
	Shapes     map[string]*Shape     `json:"shapes"`

	name string
}

// Metadata says how the service is spoken to.
type Metadata struct {
	APIVersion         string           `json:"apiVersion"`
	EndpointPrefix     string           `json:"endpointPrefix"`
	GlobalEndpoint     string           `json:"globalEndpoint,omitempty"`
	JSONVersion        string           `json:"jsonVersion,omitempty"`
	Protocol           string           `json:"protocol"` // json, query, ec2, rest-json, rest-xml
	ServiceFullName    string           `json:"serviceFullName"`
	ServiceID          string           `json:"serviceId"`
	SigningName        string           `json:"signingName,omitempty"`
	TargetPrefix       string           `json:"targetPrefix,omitempty"`
	XMLNamespace       string           `json:"xmlNamespace,omitempty"`
	AWSQueryCompatible *json.RawMessage `json:"awsQueryCompatible,omitempty"`
}

// Operation is one call that the service answers.
type Operation struct {
	Name         string    `json:"name"`
	HTTP         HTTP      `json:"http"`
	Input        *Ref      `json:"input,omitempty"`
	Output       *Ref      `json:"output,omitempty"`
	Errors       []*Ref    `json:"errors,omitempty"`
	Endpoint     *Endpoint `json:"endpoint,omitempty"`
	HTTPChecksum *Checksum `json:"httpChecksum,omitempty"`
}

// HTTP is where a REST operation lives; for the others it is always POST /.
type HTTP struct {
	Method       string `json:"method"`
	RequestURI   string `json:"requestUri"`
	ResponseCode int    `json:"responseCode,omitempty"`
}

// Endpoint is a host prefix that SDKs put before the endpoint's host.
type Endpoint struct {
	HostPrefix string `json:"hostPrefix"`
}

// Checksum says which member names the checksum algorithm and whether the service insists on one.
type Checksum struct {
	RequestAlgorithmMember  string `json:"requestAlgorithmMember,omitempty"`
	RequestChecksumRequired bool   `json:"requestChecksumRequired,omitempty"`
}

// Ref is the use of a shape, with what this use adds to it.
type Ref struct {
	Name             string        `json:"-"` // the member's name, in a structure
	Shape            string        `json:"shape"`
	LocationName     string        `json:"locationName,omitempty"`
	Location         string        `json:"location,omitempty"` // uri, querystring, header, headers, statusCode
	QueryName        string        `json:"queryName,omitempty"`
	ResultWrapper    string        `json:"resultWrapper,omitempty"`
	Flattened        bool          `json:"flattened,omitempty"`
	XMLAttribute     bool          `json:"xmlAttribute,omitempty"`
	XMLNamespace     *XMLNamespace `json:"xmlNamespace,omitempty"`
	Streaming        bool          `json:"streaming,omitempty"`
	IdempotencyToken bool          `json:"idempotencyToken,omitempty"`
	HostLabel        bool          `json:"hostLabel,omitempty"`
	JSONValue        bool          `json:"jsonvalue,omitempty"`
	EventPayload     bool          `json:"eventpayload,omitempty"`

	To *Shape `json:"-"`
}

// XMLNamespace is the xmlns of an element.
type XMLNamespace struct {
	Prefix string `json:"prefix,omitempty"`
	URI    string `json:"uri"`
}

// Shape is a type of the API.
type Shape struct {
	Name            string        `json:"-"`
	Type            string        `json:"type"` // structure list map string integer long float double boolean blob timestamp
	Required        []string      `json:"required,omitempty"`
	Members         Members       `json:"members,omitempty"`
	Member          *Ref          `json:"member,omitempty"`
	Key             *Ref          `json:"key,omitempty"`
	Value           *Ref          `json:"value,omitempty"`
	Min             *json.Number  `json:"min,omitempty"`
	Max             *json.Number  `json:"max,omitempty"`
	Pattern         string        `json:"pattern,omitempty"`
	Enum            []string      `json:"enum,omitempty"`
	Flattened       bool          `json:"flattened,omitempty"`
	LocationName    string        `json:"locationName,omitempty"`
	TimestampFormat string        `json:"timestampFormat,omitempty"`
	Payload         string        `json:"payload,omitempty"`
	Exception       bool          `json:"exception,omitempty"`
	Fault           bool          `json:"fault,omitempty"`
	Error           *ErrorTrait   `json:"error,omitempty"`
	Union           bool          `json:"union,omitempty"`
	Document        bool          `json:"document,omitempty"`
	EventStream     bool          `json:"eventstream,omitempty"`
	Event           bool          `json:"event,omitempty"`
	Streaming       bool          `json:"streaming,omitempty"`
	Sensitive       bool          `json:"sensitive,omitempty"`
	Box             bool          `json:"box,omitempty"`
	XMLNamespace    *XMLNamespace `json:"xmlNamespace,omitempty"`
}

// ErrorTrait is how an error shape is spelt on the wire.
type ErrorTrait struct {
	Code           string `json:"code,omitempty"`
	HTTPStatusCode int    `json:"httpStatusCode,omitempty"`
	SenderFault    bool   `json:"senderFault,omitempty"`
}

// Members are a structure's members in the model's order.
type Members []*Ref

// UnmarshalJSON reads a JSON object and keeps the order of its members.
func (m *Members) UnmarshalJSON(b []byte) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	if _, err := dec.Token(); err != nil {
		return err
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return err
		}
		r := &Ref{Name: name.(string)}
		if err := dec.Decode(r); err != nil {
			return err
		}
		*m = append(*m, r)
	}
	return nil
}

// MarshalJSON writes the members as an object, in order.
func (m Members) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, r := range m {
		if i > 0 {
			b.WriteByte(',')
		}
		name, _ := json.Marshal(r.Name)
		ref, err := json.Marshal(r)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(ref)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// Member is the member of that name, or nil.
func (s *Shape) MemberNamed(name string) *Ref {
	for _, m := range s.Members {
		if m.Name == name {
			return m
		}
	}
	return nil
}

// Requires reports whether the structure's member must be there.
func (s *Shape) Requires(name string) bool { return slices.Contains(s.Required, name) }

// ErrorShape is the error that a code names, either as its shape ("QueueDoesNotExist") or as the wire spells it
// ("AWS.SimpleQueueService.NonExistentQueue"); nil for an error that is not in the model.
func (m *Model) ErrorShape(code string) *Shape {
	if s := m.Shapes[code]; s != nil && s.Exception {
		return s
	}
	for _, s := range m.Shapes {
		if s.Exception && s.Error != nil && s.Error.Code == code {
			return s
		}
	}
	return nil
}

// IsStream reports whether the member is a body that is passed on unread.
func (r *Ref) IsStream() bool { return r.To.Type == "blob" && (r.Streaming || r.To.Streaming) }

// Name is what the model is known by, the signing name but where two services share one: "states", "elasticmapreduce",
// "s3", "bedrock-runtime".
func (m *Model) Name() string { return m.name }

// SigningName is the service in signatures.
func (m *Model) SigningName() string {
	if m.Metadata.SigningName != "" {
		return m.Metadata.SigningName
	}
	return m.name
}

// ParseModel reads a model in botocore's form and links its shapes.
func ParseModel(name string, b []byte) (*Model, error) {
	m := &Model{name: name}
	if err := json.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("model %s: %w", name, err)
	}
	var missing []string
	link := func(r *Ref) {
		if r == nil {
			return
		}
		if r.To = m.Shapes[r.Shape]; r.To == nil {
			missing = append(missing, r.Shape)
		}
	}
	for n, s := range m.Shapes {
		s.Name = n
		for _, r := range s.Members {
			link(r)
		}
		link(s.Member)
		link(s.Key)
		link(s.Value)
	}
	for _, o := range m.Operations {
		link(o.Input)
		link(o.Output)
		for _, r := range o.Errors {
			link(r)
		}
	}
	if missing != nil {
		return nil, fmt.Errorf("model %s: missing shapes %v", name, missing)
	}
	return m, nil
}

//go:embed models/*.json.gz
var models embed.FS

// Signs are what tells in a request which service it is for, besides the signature.
type Signs struct {
	Target  string `json:"target,omitempty"`  // before the dot of X-Amz-Target
	Version string `json:"version,omitempty"` // of a query request
}

// SignsOf are a model's.
func SignsOf(m *Model) (s Signs) {
	s.Target = m.Metadata.TargetPrefix
	if p := m.Metadata.Protocol; p == "query" || p == "ec2" || m.Metadata.AWSQueryCompatible != nil {
		s.Version = m.Metadata.APIVersion
	}
	return s
}

//go:embed index.json
var index []byte

// Index is the signs of all models that are shipped, known without reading the models.
var Index = sync.OnceValue(func() map[string]Signs {
	var x map[string]Signs
	if err := json.Unmarshal(index, &x); err != nil {
		panic(err)
	}
	return x
})

var (
	loadMu sync.Mutex
	loaded = map[string]*Model{}
)

// Services lists the signing names of all models that are shipped, sorted.
var Services = sync.OnceValue(func() []string {
	entries, err := models.ReadDir("models")
	if err != nil {
		panic(err)
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = strings.TrimSuffix(e.Name(), ".json.gz")
	}
	return names
})

// Load is the model of the service with that signing name, or nil when Mayfly ships none. It is read once.
func Load(service string) *Model {
	loadMu.Lock()
	defer loadMu.Unlock()
	if m, ok := loaded[service]; ok {
		return m
	}
	if !slices.Contains(Services(), service) {
		return nil
	}
	b, err := models.ReadFile(path.Join("models", service+".json.gz"))
	if err != nil {
		panic(err)
	}
	zr, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		panic(err)
	}
	text, err := io.ReadAll(zr)
	if err != nil {
		panic(err)
	}
	m, err := ParseModel(service, text)
	if err != nil {
		panic(err) // the shipped files are checked by a test
	}
	loaded[service] = m
	return m
}

// Ptr is the address of a copy of v, for optional members.
func Ptr[T any](v T) *T { return &v }

// Val is what p points to, or the zero value for nil.
func Val[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
