# Every command of the project. `make help` lists them; `make test` is what CI runs.
#
# Nothing is kept in the work tree but what is made for people: target/cluster/kubeconfig, target/steading-operator.tar. Compiled
# code and the programs of the test clusters live in a cache that can be deleted at any time; packages of Debian live there, too.

STEADING_CACHE ?= $(HOME)/.cache/steading
CARGO_TARGET_DIR ?= $(STEADING_CACHE)/target
export STEADING_CACHE CARGO_TARGET_DIR

# Cargo takes what another checkout built for its own if that is newer than its files. So whoever comes from another checkout makes his
# files new.
ignored := $(shell [ ! -d "$(CARGO_TARGET_DIR)" ] || [ "$$(cat "$(CARGO_TARGET_DIR)/checkout" 2>/dev/null)" = "$(CURDIR)" ] || \
  { find operator image agent-image e2e -name '*.rs' -exec touch {} + && echo "$(CURDIR)" >"$(CARGO_TARGET_DIR)/checkout"; })

# Read from where they are decided, so that they cannot drift apart.
rust_minimum := $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
go_minimum := $(shell sed -n 's/^go //p' e2e/modules/kubernetes/go.mod)

deny_version := 0.20.2
deny := $(STEADING_CACHE)/tools/cargo-deny-$(deny_version)/bin/cargo-deny

# Tests of a cluster wait more than they compute, so there are more of them at once than cores: so many files, and in
# each so many tests.
TEST_FILES ?= 3
TEST_THREADS ?= 8
TIER ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo image agent-image agent-image-lock desktop-agent programs musl test tools fmt fmt-check lint licences unit worlds mutants e2e generate docs cluster-up cluster-down fence-negate faults

help: ## List every target.
	@echo "make TARGET, where TARGET is one of"
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo "Variables: TIER, DATABASES=1 (cluster-up), KEEP (demo),"
	@echo "           CLUSTER=current, CLASS, YES=1 (demo: on a cluster of yours),"
	@echo "           REQUIRE_TIER, TEST_FILES, TEST_THREADS (test),"
	@echo "           SEEDS, SEED (worlds), SEED (faults), IMAGE, OUTPUT (image),"
	@echo "           DESKTOP, DESKTOP_OUTPUT, KEY (agent-image),"
	@echo "           CHECK=1, SAME=1 (agent-image-lock),"
	@echo "           STEADING_CACHE, CARGO_TARGET_DIR (where builds are kept)."

# Built first and not in silence: from nothing it takes minutes. KEEP=1 leaves the cluster up until Ctrl-C. On a cluster of somebody's
# own nothing is started, so neither the operator nor Go is needed. Names come through the environment: no shell reads what is in them.
# `exec`, so that on Ctrl-C make waits until the demo has removed what it made.
demo: $(if $(CLUSTER),compilers,tools) ## Show two isolated stacks come up, change and go.
	@case "$$CLUSTER" in ''|current) ;; *) \
	  echo "steading: CLUSTER=$$CLUSTER is not known: leave it out or set it to current." >&2; exit 1 ;; esac
	@cargo build --locked -p e2e --bin demo $(if $(CLUSTER),,-p operator --bin operator)
	@exec cargo run --locked -q -p e2e --bin demo -- $(if $(KEEP),--keep) $${CLUSTER:+"--cluster=$$CLUSTER"} \
	  $${CLASS:+"--class=$$CLASS"} $(if $(filter 1,$(YES)),--yes)

# One phase after the other, each with its duration. The first that fails ends the run.
phases := tools fmt-check lint licences unit e2e

test: required-tier ## Run every check and test; sets up all that it needs.
	@begin=$$(date +%s); for phase in $(phases); do \
	  printf '\n==> %s\n' "$$phase"; start=$$(date +%s); \
	  $(MAKE) --no-print-directory "$$phase" \
	    || { printf '\n==> %s FAILED after %s s\n' "$$phase" "$$(( $$(date +%s) - start ))"; exit 1; }; \
	  printf '==> %s: %s s\n' "$$phase" "$$(( $$(date +%s) - start ))"; \
	done; printf '\n==> all of %s: %s s\n' "$(phases)" "$$(( $$(date +%s) - begin ))"

# Tests on real nodes ask for it themselves: without root they are skipped aloud, or fail if this is 3.
export REQUIRE_TIER
.PHONY: required-tier
required-tier:
	@case "$(REQUIRE_TIER)" in \
	  ''|1|2) echo "steading: T1, T2 and T3 tests run; without root or Linux those of T3 (real nodes) are skipped and counted." ;; \
	  3) echo "steading: T1, T2 and T3 tests run; none may be skipped." ;; \
	  *) echo "steading: REQUIRE_TIER=$(REQUIRE_TIER) is not a tier: leave it out or set it to 1, 2 or 3." >&2; exit 1 ;; \
	esac

# `need PROGRAM MINIMUM FOUND NEXT-STEP` ends the recipe unless FOUND is at least MINIMUM.
define need
need() { \
  if [ -z "$$3" ]; then \
    echo "steading: $$1 $$2 or newer is needed and none was found in PATH. Next: $$4." >&2; exit 1; \
  elif [ "$$(printf '%s\n%s\n' "$$2" "$$3" | sort -V | head -n 1)" != "$$2" ]; then \
    echo "steading: $$1 $$2 or newer is needed, but this machine has $$1 $$3. Next: $$4." >&2; exit 1; \
  fi; echo "steading: $$1 $$3 (at least $$2)"; }
endef

tools: compilers ## Check that Rust, Go and a C compiler are new enough.
	@$(need); need go "$(go_minimum)" "$$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null | sed 's/^go//; s/ .*//')" \
	  "get Go from https://go.dev/dl and put it first in PATH"

.PHONY: compilers
compilers:
	@$(need); \
	need cargo "$(rust_minimum)" "$$(cargo --version 2>/dev/null | cut -d ' ' -f 2)" \
	  "get Rust from https://rustup.rs, or run 'rustup update stable'"; \
	need rustfmt "1" "$$(cargo fmt --version 2>/dev/null | cut -d ' ' -f 2)" "run 'rustup component add rustfmt'"; \
	need clippy "0.1" "$$(cargo clippy --version 2>/dev/null | cut -d ' ' -f 2)" "run 'rustup component add clippy'"; \
	need cc "0" "$$(cc -dumpversion 2>/dev/null)" \
	  "install a C compiler (Debian: apt-get install gcc libc6-dev; macOS: xcode-select --install)"

fmt: ## Format all Rust code.
	@cargo fmt --all

fmt-check: ## Fail where Rust code is not formatted.
	@cargo fmt --all --check

lint: ## Run clippy on everything; every warning is an error.
	@cargo clippy --locked --workspace --all-targets -- -D warnings

mutants_version := 27.1.0
mutants := $(STEADING_CACHE)/tools/cargo-mutants-$(mutants_version)/bin/cargo-mutants

# What is pure: what should exist, and the decisions of the engine. What survives on purpose stands in .cargo/mutants.toml.
pure := conditions contest round fault backoff gate children known watches lease/decide
doorkeeping := nkey root jwt limits rights request shown admit budget server_config
decisions := host allow address policy policy_file asked credentials token usage
MUTANTS ?= $(foreach file,$(pure),--file operator/src/engine/$(file).rs) --file operator/src/client/policy.rs
mutants: $(mutants) ## Change the pure code in every way; a test must notice each.
	@mkdir -p "$(STEADING_CACHE)/mutants"; export CARGO_TARGET_DIR="$(STEADING_CACHE)/mutants/target"; status=0; \
	$(mutants) mutants --package desired --output "$(STEADING_CACHE)/mutants/desired" -- --lib --tests || status=$$?; \
	$(mutants) mutants --package operator $(MUTANTS) --output "$(STEADING_CACHE)/mutants/operator" -- --lib -- engine client || status=$$?; \
	$(mutants) mutants --package gateway $(decisions:%=--file operator/gateway/src/%.rs) \
	  --output "$(STEADING_CACHE)/mutants/gateway" -- --lib || status=$$?; \
	$(mutants) mutants --package relay $(doorkeeping:%=--file operator/relay/src/%.rs) \
	  --output "$(STEADING_CACHE)/mutants/relay" -- --lib || status=$$?; \
	exit $$status

# `advisories` needs a database that is fetched from outside, so it is not part of the tests: see CONTRIBUTING.md.
licences: $(deny) ## Check licences, bans and sources of all dependencies.
	@$(deny) --locked check licenses bans sources

# Built once per version, little optimised: it runs for a second and is built for minutes.
$(deny):
	@echo "steading: building cargo-deny $(deny_version) (about 2 min on 2 cores, once)"
	@CARGO_TARGET_DIR="$(STEADING_CACHE)/tools/build" CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off \
	  CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=false \
	  cargo install --quiet --locked --version "$(deny_version)" --root "$(STEADING_CACHE)/tools/cargo-deny-$(deny_version)" cargo-deny
	@rm -rf "$(STEADING_CACHE)/tools/build"

$(mutants):
	@echo "steading: building cargo-mutants $(mutants_version) (about 2 min on 2 cores, once)"
	@CARGO_TARGET_DIR="$(STEADING_CACHE)/tools/build" CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off \
	  CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=false \
	  cargo install --quiet --locked --version "$(mutants_version)" --root "$(STEADING_CACHE)/tools/cargo-mutants-$(mutants_version)" cargo-mutants
	@rm -rf "$(STEADING_CACHE)/tools/build"

unit: ## Run the unit tests; no cluster.
	@cargo test --locked --workspace --exclude e2e --lib --bins --tests --no-fail-fast

# Many worlds have a build of their own, optimised a little: once 7 minutes on 2 cores, then five thousand worlds a minute.
SEEDS ?= 10000
worlds: ## Try deterministic worlds (SEEDS=10000, or SEED=n for one).
	@$(if $(SEED),STEADING_SEED=$(SEED),STEADING_SEEDS=$(SEEDS)) \
	  cargo test --locked -q $(if $(SEED),,--profile worlds) -p operator --lib worlds -- --nocapture

# Plain cargo test, not nextest: nextest runs each test in a process of its own, and tests of one file share a
# control plane that takes seconds to start.
e2e: ## Run the cluster tests; builds what the clusters need first.
	@cargo test --locked -p e2e --lib --bins --tests --no-run
	@cargo run --locked -q -p e2e --bin cluster -- build --for-tests
	@cargo test --locked -q -p e2e --lib --bins
	@TEST_FILES="$(TEST_FILES)" TEST_THREADS="$(TEST_THREADS)" e2e/run

generate: ## Write crds/ and docs/reference/ anew from the code.
	@for folder in crds charts/steading/files/crds charts/steading-crds/files/crds; do \
	  cargo run --locked -q -p api --bin crdgen "$$folder" || exit 1; \
	done
	@$(MAKE) --no-print-directory docs

docs: ## Write docs/reference/ anew from the code and the chart.
	@STEADING_WRITE_REFERENCE=1 cargo test --locked -q -p e2e --test reference -- documented

# A static program, in which no path of this machine is left: the same sources and compiler give the same image in any folder. Cargo
# calls our own files by their paths within the checkout; that of the checkout is in no flag, or each would build everything anew.
version := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
IMAGE ?= localhost/steading/operator:$(version)
OUTPUT ?= target/steading-operator.tar
musl := $(shell uname -m)-unknown-linux-musl
cargo_home := $(or $(CARGO_HOME),$(HOME)/.cargo)
static := RUSTFLAGS="--remap-path-prefix=$(cargo_home)=/cargo" CC_$(subst -,_,$(musl))=musl-gcc \
  CFLAGS_$(subst -,_,$(musl))="-ffile-prefix-map=$(cargo_home)=/cargo -ffile-prefix-map=$(CARGO_TARGET_DIR)=/target" \
  cargo build --locked --release --target $(musl)
image: tools musl ## Pack the operator into an OCI image; no engine needed.
	@$(static) -p operator --bin operator -p probe --bin probe -p canary --bin canary -p relay --bin steading-relay
	@mkdir -p "$(dir $(OUTPUT))"
	@cargo run --locked -q -p image --bin operator-image -- --name "$(IMAGE)" --output "$(OUTPUT)" \
	  --programs "$(CARGO_TARGET_DIR)/$(musl)/release"
	@echo "steading: $(IMAGE) is in $(OUTPUT); its digest is above"

# Built with optimisation, because half a gigabyte is compressed. Needs no root, but programs of Debian: apt-get, dpkg-deb.
DESKTOP ?= localhost/steading/desktop:$(version)
DESKTOP_OUTPUT ?= target/steading-desktop.tar
desktop_image := cargo run --locked -q --release -p agent-image --bin desktop-image --
agent-image: compilers musl ## Pack the desktop of agents (KEY=cosign.pem signs it).
	@$(static) -p agent --bin steading-agent
	@mkdir -p "$(dir $(DESKTOP_OUTPUT))"
	@$(desktop_image) pack --name "$(DESKTOP)" --agent "$(CARGO_TARGET_DIR)/$(musl)/release/steading-agent" --output "$(DESKTOP_OUTPUT)" $(if $(KEY),--key "$(KEY)")
	@echo "steading: $(DESKTOP) is in $(DESKTOP_OUTPUT); its digest is above"

agent-image-lock: compilers ## Choose the desktop's packages anew (CHECK=1 only looks).
	@$(desktop_image) lock $(if $(CHECK),--check) $(if $(SAME),--same)

desktop-agent: musl ## Build the program that drives a desktop from within.
	@$(static) -p agent --bin steading-agent
	@echo "$(CARGO_TARGET_DIR)/$(musl)/release"

programs: musl ## Build what runs on nodes beside an operator process.
	@$(static) -p probe --bin probe -p canary --bin canary -p relay --bin steading-relay
	@echo "$(CARGO_TARGET_DIR)/$(musl)/release"

musl: ## Get what static programs need.
	@test -d "$$(rustc --print target-libdir --target $(musl) 2>/dev/null)" || ! command -v rustup >/dev/null || rustup target add $(musl)
	@$(need); \
	need "the Rust standard library for $(musl)" "1" \
	  "$$(test -d "$$(rustc --print target-libdir --target $(musl) 2>/dev/null)" && echo 1)" "run 'rustup target add $(musl)'"; \
	need "musl-gcc" "0" "$$(musl-gcc -dumpversion 2>/dev/null)" "install it (Debian: apt-get install musl-tools)"

# DATABASES=1 adds CloudNativePG with its plugin for backups, on real nodes.
cluster-up: tools ## Start a cluster with the chart, to use by hand (TIER=1 to 3).
	@cargo run --locked -q -p e2e --bin cluster -- up --tier "$(TIER)" $(if $(DATABASES),--databases)

cluster-down: ## End the cluster that cluster-up started.
	@cargo run --locked -q -p e2e --bin cluster -- down

fence-negate: ## Show for each rule of the fence that a test fails without it.
	@cargo run --locked -q -p e2e --bin fence-negate

# Takes long. SEED is a point to do again, as a failure names it, a story such as equip/, or a number from which pairs of faults are drawn.
faults: tools ## Break the operator at every write of every story.
	@cargo run --locked -q -p e2e --bin cluster -- build
	@cargo run --locked -q -p e2e --bin faults -- "$(SEED)"
