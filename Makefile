# Portcullis: what people type. `make` alone lists it.
.DEFAULT_GOAL := help
.PHONY: help demo app pictures test test-client test-app test-browser simulate soak fuzz reliability floods bench bench-gate pgo attacks lint fmt audit deps image test-image

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 15

demo: ## build, and run in front of a small legacy app until Ctrl-C (DEMO="--access-lifetime 30s")
	@scripts/install-deps build
	cargo build --locked
	@$(MAKE) --no-print-directory app
	@demo/run target/debug/portcullis $(DEMO)

app: demo/app/dist/index.html ## build the single-page app of the demo, and the client package that it uses

# npm writes .package-lock.json when all is installed, so it stands for the whole folder.
%/node_modules/.package-lock.json: %/package-lock.json
	cd $* && npm ci --no-audit --no-fund --loglevel=error

client/dist/index.js: client/node_modules/.package-lock.json client/package.json client/tsconfig.build.json $(wildcard client/src/*.ts)
	cd client && npm run --silent build

demo/app/dist/index.html: demo/app/node_modules/.package-lock.json client/dist/index.js \
		$(filter-out %/dist %/node_modules,$(wildcard demo/app/*)) $(shell find demo/app/src demo/app/public -type f)
	cd demo/app && npm run --silent build

# Apps of other people for the browser tests.
tests/browser/apps/python/.installed: tests/browser/apps/requirements.txt
	rm -rf $(@D)
	python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --target $(@D) -r $<
	touch $@

pictures: deps app tests/browser/node_modules/.package-lock.json ## make the pictures of the README anew
	cargo build --locked
	cd tests/browser && node pictures.mjs

test: deps ## everything that belongs to a change
	@$(MAKE) --no-print-directory lint
	cargo test --locked
	@$(MAKE) --no-print-directory test-client
	@$(MAKE) --no-print-directory test-app
	@$(MAKE) --no-print-directory test-browser

test-client: client/node_modules/.package-lock.json ## the client package: format, types, size, and what it does for each outcome
	cd client && npm run --silent test

test-app: demo/app/node_modules/.package-lock.json client/dist/index.js ## the demo app: format and types; what it does, the browser tests see
	cd demo/app && npm run --silent lint

test-browser: deps app tests/browser/node_modules/.package-lock.json tests/browser/apps/node_modules/.package-lock.json \
		tests/browser/apps/python/.installed ## the client package, the demo app and apps of other people, in Chromium
	cargo build --locked
	cd tests/browser && npm run --silent test

simulate: ## a million schedules of the simulation (SCHEDULES=..., SIMULATION_BASE=...)
	CARGO_PROFILE_TEST_OPT_LEVEL=2 SCHEDULES=$${SCHEDULES:-1000000} SIMULATION_BASE=$${SIMULATION_BASE:-$$(od -An -N7 -tu8 /dev/urandom | tr -d ' ')} \
		cargo test --locked --test simulation no_schedule -- --nocapture

soak: deps ## ten minutes of browsers, thieves and faults, held against the invariants (SOAK_S=...)
	SOAK_S=$${SOAK_S:-600} cargo test --locked --test blackbox history:: -- --nocapture --test-threads=1

fuzz: ## fuzz every parser of foreign input, guided by coverage (FUZZ_S=60 seconds for each, TARGETS="path head")
	@scripts/install-deps fuzz
	fuzz/run --seconds $${FUZZ_S:-60} $(TARGETS)

reliability: deps ## inject every fault, measure, print the tables of docs/reliability.md (12 minutes)
	cargo test --locked --test faults -- $(ROWS)

attacks: deps ## every class of attack over real backends; UPDATE_DOCS=1 writes the table of docs/attacks.md (some minutes)
	cargo test --locked --test attacks -- --all $(CLASSES)

bench: ## measure beside bare Pingora, HAProxy, nginx, Envoy and Caddy (BENCH="--only hot --rounds 3")
	@scripts/install-deps bench
	bench/run $(BENCH)

bench-gate: ## fail if a request takes 3 % more instructions than bare Pingora's
	@scripts/install-deps bench-gate
	bench/gate $(BENCH)

pgo: ## build target/pgo/portcullis, guided by a profile of its own work: a quarter cheaper a request (20 minutes)
	@scripts/install-deps pgo
	bench/pgo

floods: ## slow and flooding clients beside one that behaves: the table of docs/limits.md (4 minutes)
	@scripts/install-deps build
	cargo test --locked --test floods -- $(ROWS)
image: ## build the image with Docker
	docker build -t portcullis .

test-image: ## build the image without an engine or a registry, and run what is in it (as root; BINARY=target/release/portcullis saves minutes)
	@scripts/test-image $(BINARY)

lint: ## formatting and clippy, warnings are errors
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings

fmt: ## format the sources
	cargo fmt

audit: ## licences and known vulnerabilities of dependencies (needs cargo-deny)
	@command -v cargo-deny >/dev/null || { echo "cargo-deny is not installed: cargo install --locked cargo-deny" >&2; exit 1; }
	cargo deny check

deps: ## install what this machine lacks to build and test
	@scripts/install-deps test
