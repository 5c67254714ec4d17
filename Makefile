# Portcullis: what people type. `make` alone lists it.
.DEFAULT_GOAL := help
.PHONY: help demo test reliability lint fmt audit deps

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 13

demo: ## build, and run in front of a small legacy app until Ctrl-C
	@scripts/install-deps build
	cargo build --locked
	@demo/run target/debug/portcullis

test: deps ## everything that belongs to a change
	@$(MAKE) --no-print-directory lint
	cargo test --locked

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
