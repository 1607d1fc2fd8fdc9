package conformance

import "testing"

func document(t *testing.T, text string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := decode([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestNormalise(t *testing.T) {
	yes := true
	n := normaliser{account: "000000000000", region: "us-east-1", transformers: []Transformer{
		{Kind: "text", Text: "case_1", Replacement: "<ArnPart_0idx>"},
		{Kind: "jsonpath", Path: "$..TaskToken", Replacement: "token", Reference: &yes},
		{Kind: "regex", Pattern: `RetryAttempts: (\d+)`, Replacement: `Retries \1`},
	}}
	got := n.run(document(t, `{"history": {"events": [
		{"id": 1, "timestamp": 1700000000.123, "type": "ExecutionStarted", "details": {"input": "{\"a\": 1.0, \"TaskToken\": \"abc\"}", "again": "abc",
		 "arn": "arn:aws:states:us-east-1:000000000000:stateMachine:case_1", "note": "RetryAttempts: 3", "at": "2024-02-29T10:11:12.5Z", "plain": "[1,2]"}}]},
		"result": {"startDate": 1700000000.5, "RequestId": "0c3a9e3e-6f1b-4e3a-9d5a-0123456789ab"}}`))
	want := document(t, `{"history": {"events": [
		{"id": 1, "timestamp": "timestamp", "type": "ExecutionStarted", "details": {"input": {"a": 1.0, "TaskToken": "<token:1>"}, "again": "<token:1>",
		 "arn": "arn:<partition>:states:<region>:111111111111:stateMachine:<ArnPart_0idx>", "note": "Retries 3", "at": "date", "plain": "[1,2]"}}]},
		"result": {"startDate": "datetime", "RequestId": "<uuid:1>"}}`)
	for _, d := range difference("$", any(want), any(got)) {
		t.Error(d)
	}
}

func TestRenumberCountsInOrderOfAppearance(t *testing.T) {
	a := document(t, `{"a": "<token:4>", "b": "<token:2>", "c": "<token:4>", "d": "<ArnPart_3idx>"}`)
	b := document(t, `{"a": "<token:1>", "b": "<token:9>", "c": "<token:1>", "d": "<ArnPart_0idx>"}`)
	if !equal(renumber(a), renumber(b)) {
		t.Errorf("%s\n%s", dump(renumber(a)), dump(renumber(b)))
	}
	b["c"] = "<token:9>"
	if equal(renumber(a), renumber(b)) {
		t.Error("another value in the third place was taken for the same")
	}
}

func TestJudgeSeesWhatDiffers(t *testing.T) {
	c := Case{Kind: "execution", Recorded: "01-01-2026", Expect: document(t, `{"status": "SUCCEEDED", "output": {"a": 1}, "events": [{"id": 1, "type": "ExecutionStarted"}]}`)}
	good := `{"result": {"status": "SUCCEEDED", "output": {"a": 1}}, "history": {"events": [{"id": 1, "type": "ExecutionStarted"}]}}`
	if o := c.judge(document(t, good)); !o.Result || !o.History {
		t.Errorf("equal answers differ: %v", o.Diff)
	}
	for name, bad := range map[string]string{
		"status":       `{"result": {"status": "FAILED", "output": {"a": 1}}, "history": {"events": [{"id": 1, "type": "ExecutionStarted"}]}}`,
		"number":       `{"result": {"status": "SUCCEEDED", "output": {"a": 1.0}}, "history": {"events": [{"id": 1, "type": "ExecutionStarted"}]}}`,
		"output":       `{"result": {"status": "SUCCEEDED"}, "history": {"events": [{"id": 1, "type": "ExecutionStarted"}]}}`,
		"event":        `{"result": {"status": "SUCCEEDED", "output": {"a": 1}}, "history": {"events": [{"id": 1, "type": "PassStateEntered"}]}}`,
		"missing":      `{"result": {"status": "SUCCEEDED", "output": {"a": 1}}, "history": {"events": []}}`,
		"extra member": `{"result": {"status": "SUCCEEDED", "output": {"a": 1}, "cause": "x"}, "history": {"events": [{"id": 1, "type": "ExecutionStarted"}]}}`,
	} {
		if o := c.judge(document(t, bad)); o.Result && o.History {
			t.Errorf("%s: a difference was not seen", name)
		}
	}
}

func TestFind(t *testing.T) {
	doc := document(t, `{"a": {"b": [{"c": 1}, {"c": 2}]}, "c": 3}`)
	for path, want := range map[string]int{"$..c": 3, "$.a.b[1].c": 1, "$.a.b[*].c": 2, "$.*": 2, "$.x": 0, "$..b": 1} {
		if got := len(find(doc, path)); got != want {
			t.Errorf("%s selects %d places, want %d", path, got, want)
		}
	}
}
