// Package template is CloudFormation's template language: it parses YAML and JSON, checks a template, binds parameters
// and evaluates intrinsic functions. It is pure: no clock, no I/O, and nothing of any resource type; what it needs
// from the world (does this key pair exist, what is the ARN of that role) comes in through functions.
//
// The way of a template:
//
//	t, err := template.Parse(body)              // all of it is well-formed, every name that is used exists, no cycle
//	params, err := t.Bind(given, exists)        // every parameter has a value that its declaration allows
//	conds, err := t.EvaluateConditions(ctx)     // which resources and outputs there are
//	props, err := t.Resolve(res.Properties, ctx)
//
// Values are nil (AWS::NoValue only, and never inside a result), bool, string, json.Number, []any and map[string]any.
// Short forms (!Ref) become their long forms ({"Ref": …}) while parsing. Errors are of type Error and hold AWS's text.
//
// What it does not do: transforms (SAM, includes, macros), Rules, Hooks, dynamic references and SSM parameter types;
// each is refused by name.
package template
