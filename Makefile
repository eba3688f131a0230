# `make` alone prints what there is. `make demo` and `make test` need nothing
# but Go, git and make: they install what else they use (see `make deps`).

GO       ?= go
FUZZTIME ?= 30s
ROUNDS   ?= 50
IMAGE    ?= imapsync:dev
CORPUS   ?= ../shared/corpus

TOOL := $(GO) tool -modfile=$(CURDIR)/internal/tools/go.mod
# Modules beside the product, each with dependencies of its own.
MODULES := $(patsubst %/go.mod,%,$(wildcard bench/go.mod examples/go.mod examples/*/go.mod web/browsertest/go.mod))

.DEFAULT_GOAL := help
.PHONY: help deps build demo dev test quirks screenshots crash lint vuln fmt fuzz bench bench-peers corpus image clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

deps: ## install what tests and demo start: PostgreSQL, Dovecot, PgBouncer, promtool, Chromium
	@sh internal/tools/deps.sh

build: ## build bin/imapsync, static
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/imapsync ./cmd/imapsync

demo: deps ## mail to events on servers it starts itself, in a minute
	$(GO) run ./cmd/demo

dev: deps ## the demo's servers until Ctrl-C, with the environment to use them
	$(GO) run ./cmd/demo dev

test: deps ## all tests, with the race detector, against real servers
	IMAPSYNC_TEST_REQUIRE=1 CGO_ENABLED=1 $(GO) test -race ./...
	@for m in $(MODULES); do (set -x; cd $$m && $(GO) vet ./... && IMAPSYNC_TEST_REQUIRE=1 $(GO) test ./...) || exit 1; done

quirks: deps ## what servers do wrong, and what a pass makes of it (docs/quirks.md)
	IMAPSYNC_TEST_REQUIRE=1 $(GO) test ./sync -run FailureQuirks -v -count 1

screenshots: deps ## every page of the settings page, light and dark, desktop and phone, into ./screenshots
	cd web/browsertest && IMAPSYNC_TEST_REQUIRE=1 IMAPSYNC_SCREENSHOTS=$(CURDIR)/screenshots $(GO) test -count 1 -run TestSettingsPage .

crash: deps ## kill -9 runs, broker and database for ROUNDS (50), then count (SEED=n repeats)
	$(GO) run ./cmd/crash -rounds $(ROUNDS) $(if $(SEED),-seed $(SEED))

lint: ## golangci-lint, and govulncheck when its database answers
	$(TOOL) golangci-lint run ./...
	@for m in $(MODULES); do (set -x; cd $$m && $(TOOL) golangci-lint run ./...) || exit 1; done
	@sh internal/tools/vuln.sh --if-reachable

vuln: ## govulncheck: known vulnerabilities in what we depend on
	@sh internal/tools/vuln.sh

fmt: ## format the code
	$(TOOL) golangci-lint fmt
	@for m in $(MODULES); do (set -x; cd $$m && $(TOOL) golangci-lint fmt) || exit 1; done

fuzz: ## run every fuzz target, each for FUZZTIME (30s)
	@for dir in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -r -n 1 dirname | sort -u); do \
		for target in $$($(GO) test -list '^Fuzz' $$dir | grep '^Fuzz'); do \
			echo "$$dir $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$dir || exit 1; \
		done; \
	done

bench: deps ## measure speed and memory
	$(GO) test -run '^$$' -bench . -benchmem ./...
	@for m in $(MODULES); do (set -x; cd $$m && $(GO) test -run '^$$' -bench . -benchmem ./...) || exit 1; done
	cd bench && $(GO) run ./pass

bench-peers: deps ## whole mailboxes beside mbsync, fetchmail, fdm, getmail6, as installed
	cd bench && $(GO) run ./pass -peers -case small,mixed,big

corpus: ## measure parse against the mail in CORPUS (../shared/corpus)
	cd bench && $(GO) run ./corpus -dir "$(abspath $(CORPUS))"

image: ## build the container image IMAGE (imapsync:dev)
	docker build -t $(IMAGE) .

clean: ## remove what was built
	rm -rf bin
