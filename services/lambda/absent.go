package lambda

import (
	"context"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/lambdaapi"
)

// What a function cannot have here is told as AWS tells it of a function that has none: deployment tools ask before they
// make or delete something. Making it is refused by the gateway, which names the operation.

func absent(format string, args ...any) error {
	return awsapi.Errorf(404, "ResourceNotFoundException", format, args...)
}

// GetFunctionUrlConfig finds no URL.
func (s *Service) GetFunctionUrlConfig(ctx context.Context, in *lambdaapi.GetFunctionUrlConfigInput) (*lambdaapi.GetFunctionUrlConfigOutput, error) {
	if _, err := s.find(ctx, in.FunctionName, in.Qualifier); err != nil {
		return nil, err
	}
	return nil, absent("The resource you requested does not exist.")
}

// ListFunctionUrlConfigs lists none.
func (s *Service) ListFunctionUrlConfigs(ctx context.Context, in *lambdaapi.ListFunctionUrlConfigsInput) (*lambdaapi.ListFunctionUrlConfigsOutput, error) {
	_, err := s.find(ctx, in.FunctionName, nil)
	return &lambdaapi.ListFunctionUrlConfigsOutput{FunctionUrlConfigs: []lambdaapi.FunctionUrlConfig{}}, err
}

// GetFunctionEventInvokeConfig finds none: asynchronous invocations are repeated twice, as AWS does without one.
func (s *Service) GetFunctionEventInvokeConfig(ctx context.Context, in *lambdaapi.GetFunctionEventInvokeConfigInput) (*lambdaapi.FunctionEventInvokeConfig, error) {
	f, err := s.find(ctx, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	return nil, absent("The function %s:$LATEST doesn't have an EventInvokeConfig", f.arn())
}

// ListFunctionEventInvokeConfigs lists none.
func (s *Service) ListFunctionEventInvokeConfigs(ctx context.Context, in *lambdaapi.ListFunctionEventInvokeConfigsInput) (*lambdaapi.ListFunctionEventInvokeConfigsOutput, error) {
	_, err := s.find(ctx, in.FunctionName, nil)
	return &lambdaapi.ListFunctionEventInvokeConfigsOutput{FunctionEventInvokeConfigs: []lambdaapi.FunctionEventInvokeConfig{}}, err
}

// GetAlias finds no alias.
func (s *Service) GetAlias(ctx context.Context, in *lambdaapi.GetAliasInput) (*lambdaapi.AliasConfiguration, error) {
	f, err := s.find(ctx, in.FunctionName, nil)
	if err != nil {
		return nil, err
	}
	return nil, absent("Cannot find alias arn: %s:%s", f.arn(), in.Name)
}

// ListAliases lists none.
func (s *Service) ListAliases(ctx context.Context, in *lambdaapi.ListAliasesInput) (*lambdaapi.ListAliasesOutput, error) {
	_, err := s.find(ctx, in.FunctionName, nil)
	return &lambdaapi.ListAliasesOutput{Aliases: []lambdaapi.AliasConfiguration{}}, err
}

// ListEventSourceMappings lists none.
func (s *Service) ListEventSourceMappings(ctx context.Context, in *lambdaapi.ListEventSourceMappingsInput) (*lambdaapi.ListEventSourceMappingsOutput, error) {
	if in.FunctionName != nil {
		if _, err := s.find(ctx, *in.FunctionName, nil); err != nil {
			return nil, err
		}
	}
	return &lambdaapi.ListEventSourceMappingsOutput{EventSourceMappings: []lambdaapi.EventSourceMappingConfiguration{}}, nil
}
