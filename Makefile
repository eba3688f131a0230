# `make` alone prints what there is. `make demo` and `make test` need nothing
# but Go, git and make: they install what else they use (see `make deps`).

GO       ?= go
FUZZTIME ?= 30s
ROUNDS   ?= 50
HISTORIES ?= 2000
IMAGE    ?= imapsync:dev
CORPUS   ?= ../shared/corpus
PKG      ?= ./...
FRESH    ?= demo test

# Where make install puts things. DESTDIR goes in front, for packages.
PREFIX  ?= /usr/local
DESTDIR ?=
SYSCONF ?= /etc
ZSHDIR  ?= $(PREFIX)/share/zsh/site-functions

# Static, without the paths of this machine, and by that the same wherever it is
# built. The version is that of the commit.
BUILD := CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=auto -ldflags='-s -w'

PACKAGE := $(GO) tool -modfile=$(CURDIR)/internal/tools/package/go.mod
UNITS := $(notdir $(wildcard deploy/systemd/*.service deploy/systemd/*.timer))

TOOL := $(GO) tool -modfile=$(CURDIR)/internal/tools/go.mod
# Modules beside the product, each with dependencies of its own.
MODULES := $(patsubst %/go.mod,%,$(wildcard bench/go.mod deploy/*/go.mod examples/go.mod examples/*/go.mod web/browsertest/go.mod))

.DEFAULT_GOAL := help
.PHONY: help deps build install uninstall demo dev test soak fresh quirks histories screenshots crash lint vuln fmt fuzz bench bench-peers corpus deb sbom package-test image module-path clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

deps: ## install what tests and demo start: PostgreSQL, Dovecot, PgBouncer, promtool, systemd, Redis, Node, Chromium
	@sh internal/tools/deps.sh

build: ## build bin/imapsync, static
	$(BUILD) -o bin/imapsync ./cmd/imapsync

install: build ## binary, manual pages, completions, systemd units: under DESTDIR and PREFIX
	install -D -m 755 bin/imapsync '$(DESTDIR)$(PREFIX)/bin/imapsync'
	rm -f '$(DESTDIR)$(PREFIX)'/share/man/man1/imapsync.1 '$(DESTDIR)$(PREFIX)'/share/man/man1/imapsync-*.1
	bin/imapsync man --dir '$(DESTDIR)$(PREFIX)/share/man/man1'
	install -d '$(DESTDIR)$(PREFIX)/share/bash-completion/completions' '$(DESTDIR)$(ZSHDIR)' \
		'$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d' '$(DESTDIR)$(PREFIX)/lib/systemd/system'
	bin/imapsync completion bash >'$(DESTDIR)$(PREFIX)/share/bash-completion/completions/imapsync'
	bin/imapsync completion zsh >'$(DESTDIR)$(ZSHDIR)/_imapsync'
	bin/imapsync completion fish >'$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/imapsync.fish'
	install -D -m 644 deploy/systemd/sysusers.conf '$(DESTDIR)$(PREFIX)/lib/sysusers.d/imapsync.conf'
	for unit in $(UNITS); do \
		sed 's|=/usr/bin/imapsync|=$(PREFIX)/bin/imapsync|' "deploy/systemd/$$unit" \
			>'$(DESTDIR)$(PREFIX)/lib/systemd/system/'"$$unit" || exit 1; \
	done
	test -e '$(DESTDIR)$(SYSCONF)/imapsync/imapsync.env' || \
		install -D -m 600 deploy/systemd/imapsync.env '$(DESTDIR)$(SYSCONF)/imapsync/imapsync.env'

uninstall: ## remove what make install put there, but for the settings in /etc
	rm -f '$(DESTDIR)$(PREFIX)/bin/imapsync' \
		'$(DESTDIR)$(PREFIX)'/share/man/man1/imapsync.1 '$(DESTDIR)$(PREFIX)'/share/man/man1/imapsync-*.1 \
		'$(DESTDIR)$(PREFIX)/share/bash-completion/completions/imapsync' '$(DESTDIR)$(ZSHDIR)/_imapsync' \
		'$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/imapsync.fish' \
		'$(DESTDIR)$(PREFIX)/lib/sysusers.d/imapsync.conf' \
		$(foreach unit,$(UNITS),'$(DESTDIR)$(PREFIX)/lib/systemd/system/$(unit)')

demo: deps ## mail to events on servers it starts itself, in a minute
	$(GO) run ./internal/demo

dev: deps ## the demo's servers until Ctrl-C, with the environment to use them
	$(GO) run ./internal/demo dev

test: deps ## all tests but those of make soak, with the race detector, against real servers
	@GO='$(GO)' sh internal/tools/test.sh '$(PKG)' '$(MODULES)'

soak: deps ## what takes an hour: kills, size, fuzzing; its figures go to docs/soak.md
	@GO='$(GO)' MAKE='$(MAKE)' sh internal/tools/soak.sh

fresh: ## make demo and make test in a Debian that has only Go, git and make (root; half an hour)
	@sh internal/tools/fresh.sh $(FRESH)

quirks: deps ## what servers do wrong, and what a pass makes of it (docs/quirks.md)
	IMAPSYNC_TEST_REQUIRE=1 $(GO) test ./sync -run FailureQuirks -v -count 1

histories: deps ## HISTORIES (2,000) mailboxes on servers that lie: nothing lost, doubled or dead afterwards (SEED=n plays one)
	IMAPSYNC_TEST_REQUIRE=1 $(GO) test ./sync -run 'TestHistories$$' -count 1 -timeout 60m $(if $(SEED),-v -history $(SEED),-histories $(HISTORIES))

screenshots: deps ## every page of the settings page, light and dark, desktop and phone, into ./screenshots
	cd web/browsertest && IMAPSYNC_TEST_REQUIRE=1 IMAPSYNC_SCREENSHOTS=$(CURDIR)/screenshots $(GO) test -count 1 -run TestSettingsPage .

crash: deps ## kill, freeze, cut off and restart runs and servers for ROUNDS (50), then count (SEED=n repeats)
	$(GO) run ./internal/crash -rounds $(ROUNDS) $(if $(SEED),-seed $(SEED))

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

bench-peers: deps ## whole mailboxes beside mbsync, Node, fetchmail, fdm, getmail6, as installed
	cd bench && $(GO) run ./pass -peers -case small,mixed,big

corpus: ## measure parse against the mail in CORPUS (../shared/corpus)
	cd bench && $(GO) run ./corpus -dir "$(abspath $(CORPUS))"

deb: build ## build bin/imapsync_VERSION_ARCH.deb, with nfpm (two minutes the first time)
	rm -rf bin/deb
	@$(MAKE) -s install DESTDIR='$(CURDIR)/bin/deb' PREFIX=/usr SYSCONF=/etc ZSHDIR=/usr/share/zsh/vendor-completions
	sh deploy/debian/build.sh $(PACKAGE) nfpm

sbom: build ## list what is in bin/imapsync, as CycloneDX: bin/imapsync.cdx.json
	$(PACKAGE) cyclonedx-gomod bin -json -std -noserial -notimestamp -output bin/imapsync.cdx.json \
		-version "$$(bin/imapsync version -o json | sed -n 's/.*"version": *"\([^"]*\)".*/\1/p')" bin/imapsync

package-test: deb sbom ## make both, and look into them (apart from make test: it builds big tools)
	cd deploy/verify && $(GO) test -count 1 -tags deb -run Package ./...

image: ## build the container image IMAGE (imapsync:dev)
	docker build -t $(IMAGE) .

# PATH is make's word for where commands are found: the script asks make's own
# environment for that.
module-path: ## rename the module everywhere: make module-path PATH=host/owner/imapsync
	@GO='$(GO)' /bin/sh internal/tools/module-path.sh '$(if $(filter command,$(origin PATH)),$(PATH))' "$$PPID"

clean: ## remove what was built
	rm -rf bin
