// Package awsproto is the one codec between AWS's wire forms and document trees (map[string]any, as in awscall.Call):
// JSON 1.0 and 1.1, query, EC2 query, REST-JSON and REST-XML, as a server and as a client, driven by the API models.
//
// As a server, Open finds the operation of an HTTP request, Decode reads its input, Respond and Fail write the answer in
// the same form. Normalize checks any document against the model, with AWS's own texts. As a client, NewRequest and
// ReadResponse do the same from the other side.
//
// It does not know who calls, which operations Mayfly implements, or what any of them means. The few facts that
// the models do not tell (roots of S3's documents, names of error elements) are tables here, each with its reason.
//
// Invariants: what Decode gives has only canonical types (bool, string, int64, float64, time.Time, []byte, io.Reader,
// []any, map[string]any) and only members of the model. Every read of a request is limited, except a streaming body,
// which its handler reads; Drain reads what is left of a body before the answer, because clients that still send when the
// answer comes wait for seconds.
package awsproto
