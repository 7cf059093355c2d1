# make demo: watch a host die and its VMs come back.   make test: every test.   Both set up what they need and run as root.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON := .venv/bin/python
COLLECTIONS := $(CURDIR)/.cache/collections
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export ANSIBLE_COLLECTIONS_PATH := $(COLLECTIONS)
# Random fault schedules of the simulator, and the seed that they come from.
LIBREHA_SCHEDULES ?= 150
LIBREHA_SEED ?= 1
# Random placement problems that are compared with the optimum.
LIBREHA_INSTANCES ?= 30
# Scenarios of extensions/molecule; there is also tgt, which make prove runs.
SCENARIOS ?= iscsi_target
export LIBREHA_LAB_IMAGES ?= $(CURDIR)/.cache/lab-images
PACKAGE := ansible_collections.libreha.vmware
PYTEST := $(PYTHON) -m pytest -q -m 'not prove'
# Rooms of the unit tests that mostly wait; so do fence and record.
WAITING_ROOMS := $(patsubst %,tests/unit/%,act hypervisor lease service)

.PHONY: help setup demo test sanity lint types unit integration lab-tests qemu-tests qemu-fence qemu-kill conformance qemu-chain molecule prove bench bench-failover bench-faults bench-watch bench-health simulate simulate-run sim quality mutants clean

help: ## What can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: ## Debian packages, .venv, Go build; only what is missing
	@tests/tools/setup

demo: setup ## 3 hosts, 12 VMs, one host is killed, its VMs come back
	@$(PYTHON) tests/lab/demo.py

# Side by side: three lanes of about the same length. The first waits for real time to pass, the second has the emulated machines, the third
# computes with what those leave it.
test: setup ## Everything that CI runs
	@tests/tools/setup-qemu
	@tests/tools/lanes "lab-tests integration" "molecule qemu-kill qemu-fence" "sanity lint types unit sim quality"

sanity: setup ## ansible-test sanity
	@tests/tools/sanity

lint: setup ## ruff, ansible-lint (production profile), changelog
	@ruff check . && ruff format --check .
	@tests/tools/lint
	@antsibull-changelog lint

types: setup ## mypy, strict for decide/
	@MYPYPATH=$(COLLECTIONS) mypy -p $(PACKAGE).plugins.module_utils
	@cd tests/lab && mypy liblab demo.py

unit: setup ## Unit tests
	@tests/tools/beside "$(PYTEST) $(WAITING_ROOMS)" "$(PYTEST) tests/unit/fence" "$(PYTEST) tests/unit/record" \
		"$(PYTEST) tests/unit $(WAITING_ROOMS:%=--ignore=%) --ignore=tests/unit/fence --ignore=tests/unit/record"

integration: setup ## Real targets and hosts on loopback, without a lab; Go tests of the simulated host
	@tests/tools/beside "$(PYTEST) tests/integration/storage" "cd tests/lab/esxsim && ../../tools/go test ./..." \
		"$(PYTEST) tests/integration $(patsubst %,--ignore=tests/integration/%,storage chain quick_lab qemu_lab qemu_chain)"

lab-tests: setup ## The whole chain with real faults, one of each kind; `make prove` has them all
	@tests/tools/beside "$(PYTEST) --durations=0 --durations-min=10 tests/integration/chain" \
		"$(PYTEST) --durations=0 --durations-min=10 tests/integration/quick_lab"

qemu-tests: setup ## QEMU guests: a kernel target, kernel initiators, hard reboots; installs QEMU
	@tests/tools/setup-qemu
	@$(PYTHON) -m pytest -q tests/integration/qemu_lab

qemu-fence: setup ## Of qemu-tests, what CI runs: the fence under load, the initiator frozen and woken, the server hard rebooted
	@tests/tools/setup-qemu
	@$(PYTHON) -m pytest -q -s -m "not prove" tests/integration/qemu_lab/test_lio_fence.py

qemu-kill: setup ## Of qemu-chain, what CI runs: a machine is killed, its VMs run on the other one
	@tests/tools/setup-qemu
	@$(PYTHON) -m pytest -q -s tests/integration/qemu_chain -k killed

qemu-chain: setup ## The whole chain on kernel iSCSI: hosts in two guests, storage and arbiter in a third
	@tests/tools/setup-qemu
	@$(PYTHON) -m pytest -q -s tests/integration/qemu_chain

molecule: setup ## The role iscsi_target on QEMU guests: a real initiator, a fence, a hard reboot (SCENARIOS=tgt: the other back end)
	@tests/tools/setup-qemu
	@for scenario in $(SCENARIOS); do molecule test -s $$scenario || exit 1; done

conformance: setup ## libiscsi's iscsi-test-cu against tgt and the kernel's target; docs/iscsi-conformance.md anew
	@tests/tools/setup-qemu
	@rm -rf .cache/conformance
	@LIBREHA_CONFORMANCE=$(CURDIR)/.cache/conformance $(PYTHON) -m pytest -q tests/integration/conformance/test_tgt.py \
		tests/integration/qemu_lab/test_lio_conformance.py
	@$(PYTHON) tests/integration/conformance/tables.py .cache/conformance

prove: setup ## The long proofs in parts (tests/tools/prove.yml); goes on where it was interrupted. PARTS="sim-1 mutants": only these
	@tests/tools/setup-qemu
	@$(PYTHON) tests/tools/prove.py $(PARTS)

bench: setup ## What one decide() call costs at 1,000, 8,000 and 64,000 VMs
	@PYTHONPATH=$(COLLECTIONS) $(PYTHON) tests/bench/bench_decide.py

bench-failover: setup ## A host is killed: how long until its VMs run elsewhere (ARGS="--runs 5 --service --busy 3"; --kill 2, --peer)
	@$(PYTHON) tests/bench/bench_failover.py $(ARGS)

bench-faults: setup ## Each fault of docs/faults.md in the lab, and the page anew (ARGS="--runs 3 --faults kill,hang")
	@$(PYTHON) tests/bench/bench_faults.py $(ARGS)

bench-watch: setup ## How soon a VM that was powered off is noticed, and what an idle monitor costs (ARGS="--sizes 3x12")
	@$(PYTHON) tests/bench/bench_watch.py $(ARGS)

bench-health: setup ## A look at 500 and at 8,000 VMs, beside a bare pyVmomi read and community.vmware (ARGS="--hosts 1": only the first)
	@$(PYTHON) tests/bench/bench_health.py $(ARGS)

# The simulator ends with 0, 1 (violations) or 2 (a broken file). make itself ends with 2 for every failed recipe and with 1 only when
# it is asked a question (-q), so with this goal it is asked one: lines that begin with + run all the same.
ifeq ($(MAKECMDGOALS),simulate)
MAKEFLAGS += -q
SIMULATED := $(shell mktemp)
endif
simulate: simulate-run ## Run one scenario, or a folder of them: make -s simulate SCENARIO=tests/sim/scenarios
	$(if $(filter 1,$(shell cat $(SIMULATED); rm -f $(SIMULATED))),@exit 1)

simulate-run:
	+@[ -x $(PYTHON) ] || tests/tools/setup >&2
	+@$(PYTHON) tests/sim/simulate.py "$(SCENARIO)"; code=$$?; \
	  [ $$code != 1 ] || [ -z "$(SIMULATED)" ] || { echo 1 >"$(SIMULATED)"; exit 0; }; \
	  [ $$code = 0 ] || rm -f "$(SIMULATED)"; exit $$code

sim: setup ## All scenarios, random faults (LIBREHA_SCHEDULES=150, LIBREHA_SEED=1), and the referee's own tests
	@LIBREHA_SCHEDULES=$(LIBREHA_SCHEDULES) LIBREHA_SEED=$(LIBREHA_SEED) $(PYTHON) -m pytest -q -s tests/sim

quality: setup ## Where VMs are placed, beside the optimum of OR-Tools CP-SAT (LIBREHA_INSTANCES=30)
	@LIBREHA_INSTANCES=$(LIBREHA_INSTANCES) LIBREHA_SEED=$(LIBREHA_SEED) $(PYTHON) -m pytest -q -s tests/quality

mutants: setup ## Put deliberate bugs into decide, one at a time: a test must fail for each
	@$(PYTHON) tests/mutants/run.py

clean: ## Take the lab down and remove what was built
	-@tests/lab/lab down
	@rm -rf .cache .venv tests/lab/esxsim/esxsim
