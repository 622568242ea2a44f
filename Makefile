# Everything a person or a CI system starts. `make` alone lists it.

CARGO ?= cargo
LAB := target/debug/drover-lab
HOSTS ?= 3
THREADS ?= 6
ETCD ?= 1
# The lab makes namespaces and runs libvirtd.
SUDO := $(if $(filter 0,$(shell id -u)),,sudo --preserve-env)
FAILPOINTS := --features drover/failpoints,drover-agent/failpoints
# Cargo itself stays an ordinary user: only the test programs run as root.
RUNNER := $(if $(SUDO),CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="$(SUDO)")

.PHONY: help build setup test fmt clippy deny doc tests unit lab-test failpoints lab lab-down bench demo

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

setup: ## install the packages that building, running and testing need (Debian 12)
	scripts/setup all

build: ## build drover, drover-agent and drover-lab (debug)
	$(CARGO) build --workspace --bins

test: setup fmt clippy deny doc tests ## everything that must be right before a change lands

fmt:
	$(CARGO) fmt --all --check

clippy:
	$(CARGO) clippy --workspace --all-targets -- -D warnings

deny:
	scripts/deny

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

# All tests, those in labs too. Most wait for something most of the time; how many labs are up at a time is theirs.
tests: failpoints
	$(RUNNER) $(CARGO) test --workspace $(FAILPOINTS) -- --test-threads=$(THREADS)

unit: ## the tests that need neither root nor libvirt
	$(CARGO) test --workspace --exclude drover-tests

lab-test: failpoints ## the tests of the built programs, in labs and on agents in memory
	$(RUNNER) $(CARGO) test --workspace $(FAILPOINTS) --test cli --test labs -- --test-threads=$(THREADS)

# The programs with named points where tests stop or kill them, off unless their environment says so.
failpoints:
	$(CARGO) build --workspace --bins $(FAILPOINTS)

lab: build ## bring up a lab to explore by hand (HOSTS=3 ETCD=1)
	$(SUDO) $(LAB) up --hosts $(HOSTS) --etcd $(ETCD)

lab-down: ## remove every lab of this machine
	$(SUDO) $(LAB) down --all

bench: setup ## compare with raw tools, in release mode
	$(CARGO) build --release --workspace --bins
	$(RUNNER) $(CARGO) bench --workspace

demo: ## one real server on this machine, from nothing and back to nothing
	scripts/demo
