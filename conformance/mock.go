package conformance

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
)

// mockable reports whether the recorded results of a case's tasks can stand in for services that the endpoint lacks.
func (c *Case) mockable() bool {
	return len(c.Mocks) > 0 && !c.MocksIncomplete && !slices.Contains(c.Needs, "cross-account") && (c.Kind == "execution" || c.Kind == "sync_execution")
}

// mockName is the state machine of the case in the mock configuration.
func (c *Case) mockName() string { return "Case" + digest(c.Name)[:12] }

// testCase is what the configuration calls what was recorded.
const testCase = "recorded"

// MockConfig is a mock configuration in the form of Step Functions Local, with the recorded results of all cases that have
// them, by state and start.
func MockConfig(cases []Case) ([]byte, error) {
	machines, responses := map[string]any{}, map[string]any{}
	for _, c := range cases {
		if !c.mockable() {
			continue
		}
		states := map[string]string{}
		for state, starts := range c.Mocks {
			given := map[string]any{}
			for i, s := range starts {
				recorded, ok := s.(map[string]any)
				if !ok {
					return nil, fmt.Errorf("case %s: the results of %s are no objects", c.Name, state)
				}
				given[strconv.Itoa(i)] = response(recorded)
			}
			name := c.mockName() + " " + state
			responses[name], states[state] = given, name
		}
		machines[c.mockName()] = map[string]any{"TestCases": map[string]any{testCase: states}}
	}
	return json.MarshalIndent(map[string]any{"StateMachines": machines, "MockedResponses": responses}, "", " ")
}

func response(recorded map[string]any) map[string]any {
	if v, ok := recorded["return"]; ok {
		return map[string]any{"Return": v}
	}
	if t, ok := recorded["throw"].(map[string]any); ok {
		cause, ok := t["cause"].(string)
		if !ok && t["cause"] != nil {
			cause = dump(t["cause"])
		}
		code, _ := t["error"].(string)
		return map[string]any{"Throw": map[string]string{"Error": code, "Cause": cause}}
	}
	if v, ok := recorded["submitted"]; ok {
		return map[string]any{"Return": v}
	}
	return map[string]any{"Return": map[string]any{}}
}
