package daemon

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/identity"
)

// remote is the caller of AWS itself, for the services that the settings send there; nil when there are none. Its calls
// are signed with the credentials that the AWS tools of this machine use: environment, profiles, SSO, roles.
func (s *Server) remote(ctx context.Context) (services []string, to awscall.Caller, err error) {
	services = strings.FieldsFunc(s.settings.Remote, func(r rune) bool { return r == ',' || r == ' ' })
	if len(services) == 0 {
		return nil, nil, nil
	}
	for _, name := range services {
		if awsapi.Load(name) == nil || name == "mayfly" {
			known := slices.DeleteFunc(slices.Clone(awsapi.Services()), func(n string) bool { return n == "mayfly" })
			return nil, nil, fmt.Errorf("setting remote: no model of a service %q is shipped; the services are %s", name, strings.Join(known, ", "))
		}
	}
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("setting remote: read the configuration of AWS: %w", err)
	}
	if cfg.Credentials == nil {
		return nil, nil, fmt.Errorf("setting remote: no AWS credentials are configured (aws configure, AWS_PROFILE or AWS_ACCESS_KEY_ID)")
	}
	return services, &awscall.Remote{
		Endpoint: s.settings.RemoteEndpoint, Region: cfg.Region, Clock: s.clock,
		Credentials: func(ctx context.Context) (identity.Credentials, error) {
			c, err := cfg.Credentials.Retrieve(ctx) // cached until they expire
			return identity.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken}, err
		},
	}, nil
}
