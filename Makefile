# Everything a developer runs. Each target does its own set-up; all can be run again.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One environment for each Python: `make test PYTHON=python3.13` replaces that of another one.
VERSION := $(shell $(PYTHON) -c 'import sys; print(".".join(map(str, sys.version_info[:3])))' 2>/dev/null || echo missing)
STAMP := $(VENV)/.installed-$(VERSION)
SUITE := $(BIN)/python -m tools.suite
OTHERS := $(filter-out python$(basename $(VERSION)), python3.11 python3.12 python3.13)

.PHONY: help demo quick test test-all lint unit contract e2e bench bench-ray bench-runs bench-idle bench-keeper bench-sdk \
	bench-shared chaos chaos-mutants soak up down install images chart docs generate golden lock clean
.DEFAULT_GOAL := help

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(STAMP): requirements/dev.lock requirements/bootstrap.lock pyproject.toml
	@case "$(VERSION)" in 3.11.* | 3.12.* | 3.13.*) ;; \
	*) echo "error: $(PYTHON) is Python $(VERSION): use 3.11, 3.12 or 3.13, as in: make PYTHON=python3.11 …" >&2; exit 1;; esac
	@echo "installing the development environment for Python $(VERSION) into $(VENV): about a minute"
	@# From nothing, unless it is of this Python already.
	@test -e $@ || $(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements/bootstrap.lock
	@# Compiled once here, or, where PYTHONDONTWRITEBYTECODE is set, in each of the thousand processes of the tests.
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements/dev.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-build-isolation --no-deps --editable .
	@touch $@

demo: $(STAMP) ## Bring up a Kubernetes and show three ways to a cluster: kubectl, Python, helm
	$(BIN)/python -m tools.demo

quick: $(STAMP) ## Checks and pure tests, in a minute
	$(SUITE) lint pure

test: $(STAMP) ## Everything that CI runs: checks, all tests, coverage; about 25 minutes
	$(SUITE) lint unit contract rig cluster away alone granted --coverage

test-all: $(STAMP) ## That, and the long matrix: every promise in pods, a short soak, other Pythons; hours
	$(SUITE) lint unit contract rig cluster away alone granted long $(if $(DOCKER),docker) soak $(OTHERS) --coverage

lint: $(STAMP) ## Format, lint, types, layers, generated files
	$(SUITE) lint

unit: $(STAMP) ## Tests of modules, with every generated case
	$(SUITE) unit

contract: $(STAMP) ## What every task runner promises, on local threads, Dask and Ray
	$(SUITE) contract

e2e: $(STAMP) ## Tests on a real Kubernetes
	$(SUITE) cluster away alone granted

bench: $(STAMP) ## Print the figures
	$(BIN)/python -m tools.install >/dev/null
	$(BIN)/python -m tests.bench.run_times
	$(BIN)/python -m tests.bench.footprint
	$(BIN)/python -m tests.bench.scaling_times
	$(BIN)/python -m tests.bench.steady_writes

bench-ray: $(STAMP) ## Print the figures of runs on Ray, beside KubeRay alone; about three quarters of an hour
	@failed=0; for each in ray_times ray_cost ray_starts; do \
		$(BIN)/python -m tests.bench.$$each || failed=1; done; exit $$failed

bench-runs: $(STAMP) ## Start 100 runs at the same time on a Kubernetes without containers, and compare with the upstream operators
	$(BIN)/python -m tests.bench.many_runs $(BENCH)

bench-idle: $(STAMP) ## Count what the operator writes in ten minutes in which nothing happens, on a Kubernetes without containers
	$(BIN)/python -m tests.bench.idle_writes $(BENCH)

bench-sdk: $(STAMP) ## Print the SDK's figures beside those of the libraries that it uses; about half an hour
	@failed=0; for each in fixed_costs task_overhead memory transfer project_code; do \
		$(BIN)/python -m tests.bench.$$each $(BENCH) || failed=1; done; exit $$failed

bench-keeper: $(STAMP) ## Print what the keeper of a shared cluster costs, and what runs leave at its scheduler; ten minutes
	$(BIN)/python -m tests.bench.keeper $(BENCH)

bench-shared: $(STAMP) ## Print how soon work begins on a shared cluster, and how soon that grows; a quarter of an hour
	$(BIN)/python -m tests.bench.shared_times $(BENCH)

chaos: $(STAMP) ## Break the operator and its connection at every write of a run, on a Kubernetes without containers; an hour
	@failed=0; $(BIN)/python -m tests.support.chaos $(CHAOS) || failed=1; \
	test -n "$(CHAOS)" || $(BIN)/python -m pytest -q tests/integration/test_crd_mutations.py || failed=1; exit $$failed

chaos-mutants: $(STAMP) ## Plant known bugs into copies of the operator, and see that chaos trials find them
	$(BIN)/python -m tests.support.chaos.mutants $(MUTANTS)

soak: $(STAMP) ## Break things under clusters from Python, and count; an hour (SOAK=--quick: a few minutes)
	$(BIN)/python -m tests.bench.soak $(SOAK)

up: $(STAMP) ## Bring up the Kubernetes for development
	$(BIN)/python -m tools.cluster up

down: $(STAMP) ## Take it down again
	$(BIN)/python -m tools.cluster down

install: $(STAMP) ## Bring up a Kubernetes with the chart in it
	$(BIN)/python -m tools.install

images: $(STAMP) ## Build the images of an installation; REGISTRY=HOST/PATH pushes them, ARCHIVE=FILE writes them to a file
	$(BIN)/python -m tools.images $(if $(REGISTRY),--registry $(REGISTRY)) $(if $(ARCHIVE),--archive $(ARCHIVE)) \
		$(if $(PULL_SECRET),--pull-secret $(PULL_SECRET))

chart: $(STAMP) ## Package the charts into dist/
	$(BIN)/python -m tools.chart dist

docs: $(STAMP) ## Build the documentation's site into build/site; a warning is an error
	$(BIN)/python -m tools.docs

generate: $(STAMP) ## Write what is made from the models and the version: CRD, chart, Chart.lock, documents
	$(BIN)/python -m tools.generate

golden: $(STAMP) ## Rewrite the golden objects of the operator's builders; review the diff
	$(BIN)/python -m pytest tests/unit/operator/test_golden.py tests/unit/operator/test_shared_golden.py --update-golden

lock: $(STAMP) ## Make the lock files again
	PATH=$(CURDIR)/$(BIN):$$PATH requirements/lock.sh

clean: ## Remove what was made inside the checkout
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
