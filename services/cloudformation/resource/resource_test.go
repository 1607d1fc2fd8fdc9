package resource

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/services/cloudformation/stack"
)

// Every type's schema is one that can be read, and what it says is mutable can be changed.
func TestSchemas(t *testing.T) {
	if len(types) < 19 {
		t.Fatalf("%d types", len(types))
	}
	for _, typ := range types {
		props := typ.properties()
		if len(props) == 0 || typ.create == nil || typ.delete == nil {
			t.Errorf("%s is not whole", typ.Name)
		}
		for name, p := range props {
			if p.mutable && typ.update == nil {
				t.Errorf("%s.%s is mutable, and there is no update", typ.Name, name)
			}
		}
		if _, ok := props[typ.NameOf]; typ.NameOf != "" && !ok {
			t.Errorf("%s has no %s", typ.Name, typ.NameOf)
		}
	}
}

func TestConvert(t *testing.T) {
	flow := awsapi.Load("elasticmapreduce").Operations["RunJobFlow"].Input.To
	for _, c := range []struct{ in, want, fails string }{
		{in: `{"VisibleToAllUsers": "true", "StepConcurrencyLevel": "2", "EbsRootVolumeSize": 10.0}`, want: `{"EbsRootVolumeSize":10,"StepConcurrencyLevel":2,"VisibleToAllUsers":true}`},
		{in: `{"Configurations": [{"Classification": "spark", "Properties": {"a": true, "b": 1.50, "c": "x"}}]}`,
			want: `{"Configurations":[{"Classification":"spark","Properties":{"a":"true","b":"1.50","c":"x"}}]}`},
		{in: `{"Applications": {"Name": "Spark"}}`, want: `{"Applications":[{"Name":"Spark"}]}`},
		{in: `{"Instances": {"Ec2Subnet": "x"}}`, fails: "Encountered unsupported property Instances.Ec2Subnet"},
		{in: `{"Instances": "x"}`, fails: "Value of property Instances must be an object"},
		{in: `{"StepConcurrencyLevel": "two"}`, fails: "Value of property StepConcurrencyLevel must be of type Integer"},
		{in: `{"VisibleToAllUsers": "maybe"}`, fails: "Value of property VisibleToAllUsers must be a boolean"},
		{in: `{"Name": {"a": 1}}`, fails: "Value of property Name must be of type String"},
	} {
		in, err := object(json.RawMessage(c.in))
		if err != nil {
			t.Fatal(err)
		}
		out, err := convert(flow, in, "")
		if c.fails != "" {
			if err == nil || err.Error() != c.fails {
				t.Errorf("%s: %v", c.in, err)
			}
			continue
		}
		b, _ := json.Marshal(out)
		if err != nil || string(b) != c.want {
			t.Errorf("%s: %s, %v", c.in, b, err)
		}
	}
}

// A made name fits its limit, begins as AWS's do, and is the same for the same command only.
func TestNames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.SampledFrom([]int{63, 64, 80, 128}).Draw(t, "limit")
		c := &call{Command: stack.Command{StackName: rapid.StringMatching(`[a-z][a-z0-9-]{0,127}`).Draw(t, "stack"), Logical: rapid.StringMatching(`[A-Z][A-Za-z0-9]{0,254}`).Draw(t, "logical"), Seq: 1, StackID: "arn"}}
		name := c.name("Name", limit)
		other := *c
		other.Seq = 2
		if len(name) > limit || name != c.name("Name", limit) || name == other.name("Name", limit) || name[0] != c.StackName[0] || strings.Count(name, "-") < 2 {
			t.Fatalf("%q (%d)", name, len(name))
		}
	})
}

func TestInstances(t *testing.T) {
	in, err := object(json.RawMessage(`{"MasterInstanceFleet": {"TargetOnDemandCapacity": 1, "InstanceTypeConfigs": [{"InstanceType": "m5.xlarge", "Configurations": [{"ConfigurationProperties": {"a": 1}}]}]},
		"TaskInstanceGroups": [{"InstanceCount": 2}], "KeepJobFlowAliveWhenNoSteps": "false", "Ec2SubnetIds": ["a"]}`))
	if err != nil {
		t.Fatal(err)
	}
	b, _ := json.Marshal(instances(in))
	want := `{"Ec2SubnetIds":["a"],"InstanceFleets":[{"InstanceFleetType":"MASTER","InstanceTypeConfigs":[{"Configurations":[{"Properties":{"a":1}}],"InstanceType":"m5.xlarge"}],"Name":"Master","TargetOnDemandCapacity":1}],` +
		`"InstanceGroups":[{"InstanceCount":2,"InstanceRole":"TASK","Name":"Task"}],"KeepJobFlowAliveWhenNoSteps":"false"}`
	if diff := cmp.Diff(want, string(b)); diff != "" {
		t.Error(diff)
	}
}
