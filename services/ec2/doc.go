// Package ec2 serves the part of Amazon EC2 that clusters' templates and clients look at: key pairs, and a default VPC with
// its subnets and security groups.
//
// Networks here are names: clusters run on this machine's loopback whatever their subnet, and a security group opens and
// closes nothing. The default VPC, its three subnets and its default group exist in each region from the start and cannot be
// deleted.
package ec2
