# Portcullis: what people type. `make` alone lists it.
.DEFAULT_GOAL := help
.PHONY: help demo test simulate soak reliability lint fmt audit deps

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 13

demo: ## build, and run in front of a small legacy app until Ctrl-C
	@scripts/install-deps build
	cargo build --locked
	@demo/run target/debug/portcullis

test: deps ## everything that belongs to a change
	@$(MAKE) --no-print-directory lint
	cargo test --locked

simulate: ## a million schedules of the simulation (SCHEDULES=..., SIMULATION_BASE=...)
	CARGO_PROFILE_TEST_OPT_LEVEL=2 SCHEDULES=$${SCHEDULES:-1000000} SIMULATION_BASE=$${SIMULATION_BASE:-$$(od -An -N7 -tu8 /dev/urandom | tr -d ' ')} \
		cargo test --locked --test simulation no_schedule -- --nocapture

soak: deps ## ten minutes of browsers, thieves and faults, held against the invariants (SOAK_S=...)
	SOAK_S=$${SOAK_S:-600} cargo test --locked --test blackbox history:: -- --nocapture --test-threads=1

reliability: deps ## inject every fault, measure, print the tables of docs/reliability.md (12 minutes)
	cargo test --locked --test faults -- $(ROWS)

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
