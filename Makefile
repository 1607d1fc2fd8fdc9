# make run    sets up what it needs, runs the pipeline on generated traffic data, prints the result
# make test   sets up what it needs, runs every test
# make check  the inner loop: format, vet, unit tests, race on the core; minutes, offline, no Spark
GO ?= go
export CGO_ENABLED ?= 0
BIN := bin/mayfly
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X github.com/mayfly-run/mayfly/internal/cli.version=$(VERSION)
# Tests that start servers, Spark or browsers of their own want the machine to themselves.
TESTFLAGS ?= -p 2 -timeout 40m

.PHONY: build run test check lint templates race generate generated bench bench-compare side-by-side conformance setup clean

build:
	@command -v $(GO) >/dev/null || { echo "Mayfly is built with Go 1.26, and there is no $(GO) on the PATH: get it from https://go.dev/dl"; exit 1; }
	@mkdir -p bin
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/mayfly
	$(GO) build -trimpath -ldflags '-s -w' -tags lambda.norpc -o bin/functions/bootstrap ./pipelines/emr/functions

run: build
	$(BIN) run

setup: build
	$(BIN) setup

# Everything: real Spark, real clients, the README's walk-through, the kill test.
test: lint templates generated race setup
	MAYFLY_TEST_ALL=1 $(GO) test $(TESTFLAGS) ./...

check: lint race
	$(GO) test -short -p 2 ./...

lint:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$unformatted" ]; then echo "not formatted (gofmt -w): $$unformatted"; exit 1; fi
	$(GO) vet ./...

# The templates that ship are what AWS takes: cfn-lint says so.
CFN_LINT := .tools/cfn-lint-1.58.0
$(CFN_LINT)/done:
	python3 -m venv $(CFN_LINT) && $(CFN_LINT)/bin/python -m pip install --quiet cfn-lint==1.58.0 && touch $@

templates: $(CFN_LINT)/done
	$(CFN_LINT)/bin/cfn-lint pipelines/emr/template.yaml pipelines/emr/cluster.yaml

# The race detector needs cgo and a C compiler; where the machine has none, PyPI's ziglang is one.
CC_FOUND := $(shell command -v $$($(GO) env CC 2>/dev/null) 2>/dev/null)
ZIG := .tools/ziglang-0.13.0
ifeq ($(CC_FOUND),)
race: export CC = $(CURDIR)/$(ZIG)/cc
race: $(ZIG)/cc
endif
$(ZIG)/cc:
	python3 -m venv $(ZIG) && $(ZIG)/bin/python -m pip install --quiet ziglang==0.13.0
	@printf '#!/bin/sh\nexec "%s" -m ziglang cc "$$@"\n' '$(CURDIR)/$(ZIG)/bin/python' >$@ && chmod 755 $@

race:
	CGO_ENABLED=1 $(GO) test -short -race -p 2 ./durable/... ./store/... ./execution/... ./engine/...

# The API models are cut from this version of botocore, which need not be installed for anything else.
BOTOCORE := 1.43.11
MODELS := .tools/botocore-$(BOTOCORE)
$(MODELS): | $(CFN_LINT)/done
	$(CFN_LINT)/bin/python -m pip install --quiet --no-deps --target $@ botocore==$(BOTOCORE)

generate: $(MODELS)
	PYTHONPATH=$(CURDIR)/$(MODELS) $(GO) generate ./internal/awsapi

# Generated code is checked in; this makes it again and compares.
generated: generate
	@git diff --exit-code --stat -- internal/awsapi || { echo "internal/awsapi is not what its generator makes: run 'make generate' and commit"; exit 1; }

bench:
	$(GO) test -run '^$$' -bench . -benchmem -p 1 ./...

# Mayfly's JSONata beside the official implementation in a JavaScript engine; a Go module of its own.
JSONATA := .tools/jsonata-2.2.2
$(JSONATA)/package/jsonata.min.js:
	@mkdir -p $(JSONATA)
	cd $(JSONATA) && npm pack --silent jsonata@2.2.2 && tar xzf jsonata-2.2.2.tgz

bench-compare: $(JSONATA)/package/jsonata.min.js
	JSONATA_JS=$(CURDIR)/$(JSONATA)/package/jsonata.min.js $(GO) -C bench/jsonata test -run TestSame -bench . -benchmem ./...

# The same recorded cases and the same latency against Mayfly, moto and LocalStack; installs the last two from PyPI.
side-by-side:
	conformance/sidebyside/run.sh

conformance: build
	$(GO) test -run TestConformance -v ./conformance -args -report ../docs/conformance.md

clean:
	rm -rf bin .mayfly
