# make demo: watch a host die and its VMs come back.   make test: every test.   Both set up what they need and run as root.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON := .venv/bin/python
COLLECTIONS := $(CURDIR)/.cache/collections
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export ANSIBLE_COLLECTIONS_PATH := $(COLLECTIONS)
# How often each repeated lab test runs: a few times in CI, `make prove` sets more.
REPEAT ?= 3
PACKAGE := ansible_collections.libreha.vmware

.PHONY: help setup demo test sanity lint types unit lab-tests prove bench clean

help: ## What can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: ## Debian packages, .venv, Go build; only what is missing
	@tests/tools/setup

demo: setup ## 3 hosts, 12 VMs, one host is killed, its VMs come back
	@$(PYTHON) tests/lab/demo.py

test: setup sanity lint types unit lab-tests ## Everything that CI runs

sanity: setup ## ansible-test sanity
	@tests/tools/sanity

lint: setup ## ruff, ansible-lint (production profile), changelog
	@ruff check . && ruff format --check .
	@tests/tools/lint
	@antsibull-changelog lint

types: setup ## mypy, strict for decide/
	@MYPYPATH=$(COLLECTIONS) mypy -p $(PACKAGE).plugins.module_utils
	@cd tests/lab && mypy liblab demo.py

unit: setup ## Unit tests, and integration tests with real targets and hosts on loopback
	@$(PYTHON) -m pytest -q tests/unit tests/integration --ignore=tests/integration/chain --ignore=tests/integration/quick_lab
	@cd tests/lab/esxsim && CGO_ENABLED=1 PATH="$$PATH:/usr/local/go/bin" go test ./...

lab-tests: setup ## The whole chain with real faults, REPEAT times where it is about chance
	@LIBREHA_REPEAT=$(REPEAT) $(PYTHON) -m pytest -q tests/integration/quick_lab tests/integration/chain

prove: setup ## The long repetitions: new random examples, and 20 of each lab test of chance
	@LIBREHA_REPEAT=20 HYPOTHESIS_PROFILE=prove $(PYTHON) -m pytest -q tests/unit/decide
	@$(MAKE) lab-tests REPEAT=20

clean: ## Take the lab down and remove what was built
	-@tests/lab/lab down
	@rm -rf .cache .venv tests/lab/esxsim/esxsim
