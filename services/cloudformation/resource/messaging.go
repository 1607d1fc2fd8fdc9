package resource

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// attributes are properties as the text-to-text maps that SNS and SQS take.
func (c *call) attributes(names ...string) map[string]any {
	out := map[string]any{}
	for _, n := range names {
		if v, ok := c.props[n]; ok {
			out[n] = text(v)
		}
	}
	return out
}

var topicAttributes = []string{"ContentBasedDeduplication", "DisplayName", "FifoTopic", "KmsMasterKeyId", "SignatureVersion"}

var snsTopic = &Type{
	Name:       "AWS::SNS::Topic",
	Properties: "ContentBasedDeduplication~ DisplayName~ FifoTopic KmsMasterKeyId~ SignatureVersion~ Subscription~ Tags~ TopicName",
	Attributes: []string{"TopicArn", "TopicName"},
	NameOf:     "TopicName",
	create: func(ctx context.Context, c *call) error {
		name := c.name("TopicName", 256)
		if c.str("FifoTopic") == "true" && c.str("TopicName") == "" {
			name = c.name("TopicName", 251) + ".fifo"
		}
		arn := fmt.Sprintf("arn:aws:sns:%s:%s:%s", c.region, c.account, name)
		had, err := c.read(ctx, "sns", "ListTagsForResource", map[string]any{"ResourceArn": arn})
		if err := c.fresh(arn, had["Tags"], err); err != nil {
			return err
		}
		in := map[string]any{"Name": name, "Attributes": c.attributes(topicAttributes...), "Tags": append(c.tags(), c.ownTags()...)}
		out, err := c.do(ctx, "sns", "CreateTopic", in)
		if err != nil {
			return err
		}
		c.physical = text(out["TopicArn"])
		c.attrs = map[string]string{"TopicArn": c.physical, "TopicName": name}
		return c.subscribe(ctx, nil)
	},
	update: func(ctx context.Context, c *call) error {
		for _, n := range topicAttributes {
			if c.changed(n) {
				if _, err := c.do(ctx, "sns", "SetTopicAttributes", map[string]any{"TopicArn": c.physical, "AttributeName": n, "AttributeValue": c.str(n)}); err != nil {
					return err
				}
			}
		}
		if dropped := c.droppedTags(); len(dropped) > 0 {
			if _, err := c.do(ctx, "sns", "UntagResource", map[string]any{"ResourceArn": c.physical, "TagKeys": dropped}); err != nil {
				return err
			}
		}
		if tags := c.tags(); len(tags) > 0 && c.changed("Tags") {
			if _, err := c.do(ctx, "sns", "TagResource", map[string]any{"ResourceArn": c.physical, "Tags": tags}); err != nil {
				return err
			}
		}
		return c.subscribe(ctx, subscriptions(c.old["Subscription"]))
	},
	delete: func(ctx context.Context, c *call) error {
		_, err := c.do(ctx, "sns", "DeleteTopic", map[string]any{"TopicArn": c.physical})
		return gone(err)
	},
}

// subscriptions lists protocol and endpoint of each, once: the sample names the same address three times.
func subscriptions(v any) [][2]string {
	var out [][2]string
	for _, s := range list(v) {
		pair := [2]string{text(member(s, "Protocol")), text(member(s, "Endpoint"))}
		if !slices.Contains(out, pair) {
			out = append(out, pair)
		}
	}
	return out
}

func (c *call) subscribe(ctx context.Context, had [][2]string) error {
	has := subscriptions(c.props["Subscription"])
	for _, s := range has {
		if !slices.Contains(had, s) {
			if _, err := c.do(ctx, "sns", "Subscribe", map[string]any{"TopicArn": c.physical, "Protocol": s[0], "Endpoint": s[1], "ReturnSubscriptionArn": true}); err != nil {
				return err
			}
		}
	}
	if !slices.ContainsFunc(had, func(s [2]string) bool { return !slices.Contains(has, s) }) {
		return nil
	}
	in := map[string]any{"TopicArn": c.physical}
	for {
		out, err := c.read(ctx, "sns", "ListSubscriptionsByTopic", in)
		if err != nil {
			return err
		}
		for _, s := range list(out["Subscriptions"]) {
			pair := [2]string{text(member(s, "Protocol")), text(member(s, "Endpoint"))}
			arn := text(member(s, "SubscriptionArn"))
			if slices.Contains(had, pair) && !slices.Contains(has, pair) && strings.HasPrefix(arn, "arn:") {
				if _, err := c.do(ctx, "sns", "Unsubscribe", map[string]any{"SubscriptionArn": arn}); gone(err) != nil {
					return err
				}
			}
		}
		if text(out["NextToken"]) == "" {
			return nil
		}
		in["NextToken"] = out["NextToken"]
	}
}

var subscriptionAttributes = []string{"DeliveryPolicy", "FilterPolicyScope", "FilterPolicy", "RawMessageDelivery", "RedrivePolicy", "SubscriptionRoleArn"}

var snsSubscription = &Type{
	Name:       "AWS::SNS::Subscription",
	Properties: "DeliveryPolicy~ Endpoint FilterPolicy~ FilterPolicyScope~ Protocol! RawMessageDelivery~ RedrivePolicy~ SubscriptionRoleArn~ TopicArn!",
	Attributes: []string{"Arn"},
	create: func(ctx context.Context, c *call) error {
		in := c.pick("TopicArn", "Protocol", "Endpoint")
		in["ReturnSubscriptionArn"] = true
		if a := c.attributes(subscriptionAttributes...); len(a) > 0 {
			in["Attributes"] = a
		}
		out, err := c.do(ctx, "sns", "Subscribe", in)
		if err != nil {
			return err
		}
		c.physical = text(out["SubscriptionArn"])
		c.attrs = map[string]string{"Arn": c.physical}
		return nil
	},
	update: func(ctx context.Context, c *call) error {
		set := func(n, v string) error {
			_, err := c.do(ctx, "sns", "SetSubscriptionAttributes", map[string]any{"SubscriptionArn": c.physical, "AttributeName": n, "AttributeValue": v})
			return err
		}
		rescoped := c.changed("FilterPolicyScope")
		if rescoped { // a policy of one scope may be none of the other
			if err := set("FilterPolicy", ""); err != nil {
				return err
			}
		}
		for _, n := range subscriptionAttributes {
			if c.changed(n) || n == "FilterPolicy" && rescoped {
				if err := set(n, c.str(n)); err != nil {
					return err
				}
			}
		}
		return nil
	},
	delete: func(ctx context.Context, c *call) error {
		_, err := c.do(ctx, "sns", "Unsubscribe", map[string]any{"SubscriptionArn": c.physical})
		return gone(err)
	},
}

// holdersPolicy is a type that puts one policy on several topics or queues.
func holdersPolicy(name, property string, set func(context.Context, *call, string, string) error, none func(*call, string) string) *Type {
	return &Type{
		Name:       name,
		Properties: "PolicyDocument!~ " + property + "!~",
		Attributes: []string{"Id"},
		create: func(ctx context.Context, c *call) error {
			c.physical = c.name("", 128)
			c.attrs = map[string]string{"Id": c.physical}
			for _, h := range texts(c.props[property]) {
				if err := set(ctx, c, h, c.str("PolicyDocument")); err != nil {
					return err
				}
			}
			return nil
		},
		update: func(ctx context.Context, c *call) error {
			has := texts(c.props[property])
			for _, h := range has {
				if err := set(ctx, c, h, c.str("PolicyDocument")); err != nil {
					return err
				}
			}
			for _, h := range texts(c.old[property]) {
				if !slices.Contains(has, h) {
					if err := set(ctx, c, h, none(c, h)); gone(err) != nil {
						return err
					}
				}
			}
			return nil
		},
		delete: func(ctx context.Context, c *call) error {
			for _, h := range texts(c.props[property]) {
				if err := set(ctx, c, h, none(c, h)); gone(err) != nil {
					return err
				}
			}
			return nil
		},
	}
}

var snsTopicPolicy = holdersPolicy("AWS::SNS::TopicPolicy", "Topics",
	func(ctx context.Context, c *call, topic, policy string) error {
		_, err := c.do(ctx, "sns", "SetTopicAttributes", map[string]any{"TopicArn": topic, "AttributeName": "Policy", "AttributeValue": policy})
		return err
	},
	func(c *call, topic string) string { // AWS: a topic always has a policy; this is the one that it begins with.
		return fmt.Sprintf(`{"Version":"2008-10-17","Id":"__default_policy_ID","Statement":[{"Sid":"__default_statement_ID","Effect":"Allow","Principal":{"AWS":"*"},`+
			`"Action":["SNS:GetTopicAttributes","SNS:SetTopicAttributes","SNS:AddPermission","SNS:RemovePermission","SNS:DeleteTopic","SNS:Subscribe","SNS:ListSubscriptionsByTopic","SNS:Publish"],`+
			`"Resource":%q,"Condition":{"StringEquals":{"AWS:SourceOwner":%q}}}]}`, topic, c.account)
	})

var queueAttributes = []string{"ContentBasedDeduplication", "DeduplicationScope", "DelaySeconds", "FifoQueue", "FifoThroughputLimit", "KmsDataKeyReusePeriodSeconds",
	"KmsMasterKeyId", "MaximumMessageSize", "MessageRetentionPeriod", "ReceiveMessageWaitTimeSeconds", "RedriveAllowPolicy", "RedrivePolicy", "SqsManagedSseEnabled", "VisibilityTimeout"}

var sqsQueue = &Type{
	Name: "AWS::SQS::Queue",
	Properties: "ContentBasedDeduplication~ DeduplicationScope~ DelaySeconds~ FifoQueue FifoThroughputLimit~ KmsDataKeyReusePeriodSeconds~ KmsMasterKeyId~ MaximumMessageSize~ " +
		"MessageRetentionPeriod~ QueueName ReceiveMessageWaitTimeSeconds~ RedriveAllowPolicy~ RedrivePolicy~ SqsManagedSseEnabled~ Tags~ VisibilityTimeout~",
	Attributes: []string{"Arn", "QueueName", "QueueUrl"},
	NameOf:     "QueueName",
	create: func(ctx context.Context, c *call) error {
		name := c.name("QueueName", 80)
		if c.str("FifoQueue") == "true" && c.str("QueueName") == "" {
			name = c.name("QueueName", 75) + ".fifo"
		}
		had, err := c.read(ctx, "sqs", "GetQueueUrl", map[string]any{"QueueName": name})
		if err == nil {
			had, err = c.read(ctx, "sqs", "ListQueueTags", map[string]any{"QueueUrl": had["QueueUrl"]})
		}
		if err := c.fresh(name, had["Tags"], err); err != nil {
			return err
		}
		tags := c.tagMap()
		for _, t := range c.ownTags() {
			tags[text(member(t, "Key"))] = member(t, "Value")
		}
		in := map[string]any{"QueueName": name, "Attributes": c.attributes(queueAttributes...), "tags": tags}
		out, err := c.do(ctx, "sqs", "CreateQueue", in)
		if err != nil {
			return err
		}
		c.physical = text(out["QueueUrl"])
		c.attrs = map[string]string{"QueueName": name, "QueueUrl": c.physical, "Arn": fmt.Sprintf("arn:aws:sqs:%s:%s:%s", c.region, c.account, name)}
		return nil
	},
	update: func(ctx context.Context, c *call) error {
		changed := map[string]any{}
		for _, n := range queueAttributes {
			if c.changed(n) {
				changed[n] = c.str(n)
			}
		}
		if len(changed) > 0 {
			if _, err := c.do(ctx, "sqs", "SetQueueAttributes", map[string]any{"QueueUrl": c.physical, "Attributes": changed}); err != nil {
				return err
			}
		}
		if dropped := c.droppedTags(); len(dropped) > 0 {
			if _, err := c.do(ctx, "sqs", "UntagQueue", map[string]any{"QueueUrl": c.physical, "TagKeys": dropped}); err != nil {
				return err
			}
		}
		if tags := c.tagMap(); len(tags) > 0 && c.changed("Tags") {
			if _, err := c.do(ctx, "sqs", "TagQueue", map[string]any{"QueueUrl": c.physical, "Tags": tags}); err != nil {
				return err
			}
		}
		return nil
	},
	delete: func(ctx context.Context, c *call) error {
		_, err := c.do(ctx, "sqs", "DeleteQueue", map[string]any{"QueueUrl": c.physical})
		return gone(err)
	},
}

var sqsQueuePolicy = holdersPolicy("AWS::SQS::QueuePolicy", "Queues",
	func(ctx context.Context, c *call, queue, policy string) error {
		_, err := c.do(ctx, "sqs", "SetQueueAttributes", map[string]any{"QueueUrl": queue, "Attributes": map[string]any{"Policy": policy}})
		return err
	},
	func(*call, string) string { return "" })
