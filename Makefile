# What one needs: Rust, Go, Java with Maven. Each target says what is missing.

CARGO ?= cargo

.PHONY: help demo test lint fuzz bench generate needs

help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: needs ## Watch a whole campaign on a real API server, with a real Keycloak; KUBE_CONTEXT=name uses a cluster of yours
	@$(CARGO) build --locked --package demo --package password-reset-operator
	@exec "$$($(CARGO) metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/debug/demo"

test: needs ## Run all tests
	@$(CARGO) test --locked --workspace

lint: needs ## Check format and lints
	@$(CARGO) fmt --all --check
	@$(CARGO) clippy --locked --quiet --workspace --all-targets -- -D warnings

fuzz: needs ## Feed every parser for FUZZ_SECONDS each (60 by default); FUZZ_SEED=number begins elsewhere
	@FUZZ_SECONDS=$${FUZZ_SECONDS:-60} $(CARGO) test --locked --release --package password-reset-operator --test fuzz -- --nocapture

bench: needs ## Measure
	@$(CARGO) bench --locked --workspace

generate: needs ## Write the files that come from the code: crds/ and docs/
	@$(CARGO) run --locked --quiet --package password-reset-operator --bin generate

needs:
	@command -v $(CARGO) >/dev/null || { \
	  echo "cargo is missing: the operator is written in Rust. Install Rust 1.89 or newer (https://rustup.rs) and try again." >&2; exit 1; }
	@df -Pk . | awk 'NR == 2 && $$4 < 1048576 { \
	  print "Less than 1 GB is free here: free some space (8 GB are enough for everything) and try again." > "/dev/stderr"; exit 1 }'
