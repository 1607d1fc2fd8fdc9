// Package iam serves the part of AWS IAM that pipelines need: roles with inline and attached policies, managed policies,
// and instance profiles. Policies are kept and returned; nothing evaluates them yet.
//
// The roles and the instance profile that EMR's clients take for granted (EMR_DefaultRole, EMR_EC2_DefaultRole,
// EMR_AutoScaling_DefaultRole) exist in each account from the start, as the AWS CLI cannot make them against an endpoint
// of its user's. AWS's own managed policies can be attached by name; their documents are not kept here.
package iam
