# What one needs: Rust, Go, Java with Maven. Each target says what is missing.

CARGO ?= cargo
# Programs that only some targets need are built on demand and kept where the test bed keeps its own.
TOOLS := $(or $(filter /%,$(XDG_CACHE_HOME)),$(HOME)/.cache)/password-reset-operator/tools/bin

.PHONY: help demo test faults crash lint planted-bugs fuzz deny mutants soak histories full-length bench generate needs

help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: needs ## Watch a whole campaign on a real API server, with a real Keycloak; KUBE_CONTEXT=name uses a cluster of yours
	@$(CARGO) build --locked --package demo --package password-reset-operator
	@exec "$$($(CARGO) metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/debug/demo"

test: needs ## Run all tests
	@$(CARGO) test --locked --workspace

soak: needs ## Random faults for SOAK_MINUTES (30), SEED=number plays one campaign again; fuzz; the faults with the shipped times
	@$(CARGO) test --locked --package password-reset-operator --test crash -- --ignored --nocapture campaigns_survive
	@[ -n "$$SEED" ] || $(MAKE) --no-print-directory histories fuzz full-length

histories: needs ## Of the soak: decisions under 10,000 random histories
	@seed=$$(date +%s); echo "PROPTEST_RNG_SEED=$$seed"; PROPTEST_RNG_SEED=$$seed PROPTEST_CASES=$${PROPTEST_CASES:-10000} \
	  $(CARGO) test --locked --quiet --package password-reset-operator --test decisions

full-length: needs ## Of the soak: faults of watches, leases and settle times as they are shipped, and crowds of policies
	@FULL_LENGTH=1 $(CARGO) test --locked --package password-reset-operator --test faults -- \
	  --nocapture watches replicas stops accounts transport http2 many_policies hundreds_of_policies process:: \
	  an_operator_that_is_killed_every_300_ms while_the_api_server_is_away

lint: needs ## Check format and lints
	@$(CARGO) fmt --all --check
	@$(CARGO) clippy --locked --quiet --workspace --all-targets -- -D warnings

faults: needs ## Of the tests: make everything go wrong that tests/README.md lists
	@$(CARGO) test --locked --package password-reset-operator --test faults

crash: needs ## Of the tests: kill the operator, or break its call, at every call of a campaign
	@$(CARGO) test --locked --package password-reset-operator --test crash -- --nocapture

planted-bugs: needs ## Plant each bug of tests/planted and show which test finds it; BUGS="name name" takes some
	@tests/planted/run.sh $(BUGS)

fuzz: needs ## Feed every parser for FUZZ_SECONDS each (60 by default), with new inputs each time; FUZZ_SEED=number repeats some
	@FUZZ_SEED=$${FUZZ_SEED:-$$(date +%s)} FUZZ_SECONDS=$${FUZZ_SECONDS:-60} $(CARGO) test --locked --release --package password-reset-operator --test fuzz -- --nocapture

deny: $(TOOLS)/cargo-deny ## Check licences, sources, banned and doubled crates, and known advisories
	@"$(TOOLS)/cargo-deny" --locked check --hide-inclusion-graph licenses bans sources
	@"$(TOOLS)/cargo-deny" --locked check --hide-inclusion-graph advisories 2>"$(TOOLS)/advisories.log" || { \
	  if grep -q 'failed to fetch advisory database\|failed to load advisory database' "$(TOOLS)/advisories.log"; then \
	    echo "Advisories were not checked: their database (github.com/rustsec/advisory-db) cannot be fetched from here."; \
	  else cat "$(TOOLS)/advisories.log" >&2; exit 1; fi; }

mutants: needs $(TOOLS)/cargo-mutants ## Change what is decided, said and remembered, and see whether a test notices; SHARD=1/8 does a part
	@nice -n 19 "$(TOOLS)/cargo-mutants" mutants --package password-reset-operator --jobs 1 $(if $(SHARD),--shard $(SHARD))

$(TOOLS)/cargo-%:
	@echo "Building cargo-$* into $(TOOLS) (only once; some minutes)" >&2
	@nice -n 10 $(CARGO) install --locked --quiet --root "$(TOOLS:/bin=)" cargo-$*

bench: needs ## Measure
	@$(CARGO) bench --locked --workspace

generate: needs ## Write the files that come from the code: crds/ and docs/
	@$(CARGO) run --locked --quiet --package password-reset-operator --bin generate

needs:
	@command -v $(CARGO) >/dev/null || { \
	  echo "cargo is missing: the operator is written in Rust. Install Rust 1.89 or newer (https://rustup.rs) and try again." >&2; exit 1; }
	@df -Pk . | awk 'NR == 2 && $$4 < 1048576 { \
	  print "Less than 1 GB is free here: free some space (8 GB are enough for everything) and try again." > "/dev/stderr"; exit 1 }'
