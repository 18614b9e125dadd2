# The commands of the project. "make help" lists them.

GO ?= go
GOLANGCI_LINT = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@v1.9.0
# How long "make fuzz" spends on each target.
FUZZTIME ?= 20s
# Where "make shots" writes its pictures.
SHOTS ?= bin/shots

.PHONY: help build test test-long lint vuln fuzz api bench bench-full shots demo clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

build: ## the command, without cgo, to bin/dagstore
	CGO_ENABLED=0 $(GO) build -o bin/dagstore ./cmd/dagstore

test: ## every test; the last line has the totals
	@scripts/test.sh

test-long: ## the long form of the randomized tests; DAGSTORE_SEED=n repeats a run, RUN=regexp selects
	@scripts/test-long.sh '$(RUN)'

lint: ## golangci-lint, which is built first
	$(GO) run $(GOLANGCI_LINT) run ./...

vuln: ## known vulnerabilities; needs its database from the network
	$(GO) run $(GOVULNCHECK) ./...

fuzz: ## each fuzz target for FUZZTIME
	@scripts/fuzz.sh $(FUZZTIME)

api: ## rewrite docs/api.txt after a change of the public API
	$(GO) test ./internal/archtest -run TestAPI -rewrite

bench: ## the short form of the benchmarks
	$(GO) run ./bench

bench-full: ## the benchmarks as they are written down
	$(GO) run ./bench -full

shots: ## pictures of all views of the page, to the folder SHOTS
	@mkdir -p '$(abspath $(SHOTS))' && DAGSTORE_PAGE_SHOTS='$(abspath $(SHOTS))' $(GO) test -count=1 -tags shots ./internal/admin/page -run TestShots

demo: build ## a store of CARs, served on this machine; DEMO_ONCE=1 checks itself and ends
	@CGO_ENABLED=0 $(GO) build -o bin/demo ./internal/demo && bin/demo -dagstore bin/dagstore $(if $(DEMO_ONCE),-once)

clean: ## what the commands above have made
	rm -rf bin bench/out coverage.out
