# The commands of this repo; `make` alone lists them.
# All Python packages are installed into the checkout's .venv, nothing into the system.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory
export PATH := $(CURDIR)/.uv/bin:$(PATH)

# Written when .venv matches uv.lock, so that the next command starts immediately.
VENV := .venv/.synced
BIN := .venv/bin
PYTEST := $(BIN)/pytest $(if $(CLUSTER),--cluster=$(CLUSTER))
SIDE_BY_SIDE := --numprocesses=auto --maxprocesses=8 --dist=worksteal --durations=10
# Cluster tests mostly wait, so two processes run them, each on a cluster of its own.
TWO_CLUSTERS := $(if $(CLUSTER),,--numprocesses=2 --dist=loadfile) --durations=10
GENERATED := operator/slipway/activator/keda/_generated operator/slipway/nodecache/_generated operator/requirements.txt fetcher/requirements.txt fetcher/sbom.py fetcher/slipway_fetcher/oci runtime-image/requirements crds docs/reference docs/planning.md docs/cli.md README.md \
	charts manifests/argocd monitoring/rules.yaml runbooks/README.md operator/slipway/api/reasons.py operator/slipway/contract runtime-image/slipway_runtime/contract operator/sbom.py pyproject.toml uv.lock $(wildcard */pyproject.toml)
EXPORT = $(BIN)/uv export --quiet --frozen --package
DEPENDENCIES = --no-emit-workspace --no-dev --no-annotate --output-file
RESOLVE = uv pip compile --quiet --python-version 3.11 --python-platform x86_64-manylinux_2_36 --only-binary :all: \
	--generate-hashes --no-annotate --no-header

##@ Try it

demo: $(VENV) ## A cluster, KServe, KEDA and a model that answers a prompt (needs root)
	@$(BIN)/devcluster demo $(ARGS) $(if $(PROMPT),"$(PROMPT)")

up: $(VENV) ## Start the devcluster and leave it running (needs root)
	@$(BIN)/devcluster up $(ARGS)

down: $(VENV) ## Stop the devcluster and remove everything of it (needs root)
	@$(BIN)/devcluster down $(ARGS)

##@ Test

test: cluster-possible lint types layers check ## Everything that CI runs: lint, types, layers, generated files, unit, attacks, engines, sources, charts, rules, vLLM, cluster, GitOps (needs root)
	$(PYTEST) $(SIDE_BY_SIDE) -m "not slow" tests/unit tests/attacks tests/engines tests/sources tests/charts tests/rules tests/website $(PYTEST_ARGS)
	$(PYTEST) -m "not slow" tests/vllm_cpu $(PYTEST_ARGS)
	$(PYTEST) $(TWO_CLUSTERS) -m "not slow" tests/cluster tests/gitops tests/runbooks $(PYTEST_ARGS)

unit: $(VENV) ## Unit tests: seconds, no cluster
	$(PYTEST) $(SIDE_BY_SIDE) -m "not slow" tests/unit $(PYTEST_ARGS)

attacks: $(VENV) ## Attacks and their expected results: raw bytes, floods, forged objects; no cluster
	$(PYTEST) $(SIDE_BY_SIDE) -m "not slow" tests/attacks $(PYTEST_ARGS)

charts: $(VENV) ## The charts as the real helm renders them, without a cluster; helm is built the first time
	$(PYTEST) $(SIDE_BY_SIDE) tests/charts $(PYTEST_ARGS)

rules: $(VENV) ## Recording rules and alerts, by promtool, which is fetched the first time; no cluster
	$(PYTEST) $(SIDE_BY_SIDE) tests/rules $(PYTEST_ARGS)

engines: $(VENV) ## Process 1 with a real llama.cpp and a real model, on this machine without a cluster
	$(PYTEST) tests/engines $(PYTEST_ARGS)

sources: $(VENV) ## The fetcher with a real server of each kind, which is built or downloaded the first time; includes its slow tests
	$(PYTEST) $(SIDE_BY_SIDE) tests/sources $(PYTEST_ARGS)

vllm: $(VENV) ## Process 1 with a real vLLM on CPUs, whose 6 GB are downloaded once; includes its slow tests
	$(PYTEST) tests/vllm_cpu $(PYTEST_ARGS)

cluster: cluster-possible $(VENV) ## Cluster tests on a real Kubernetes (needs root, or CLUSTER=kind or existing)
	$(PYTEST) tests/cluster $(PYTEST_ARGS)

gitops: cluster-possible $(VENV) ## Models in Git, by the real Argo CD, which is built the first time; includes the slow tests (needs root)
	$(PYTEST) tests/gitops $(PYTEST_ARGS)

alerts: cluster-possible $(VENV) ## Every alert that can be provoked on a devcluster, fired for real: a real Prometheus, Alertmanager and webhook; and no panel of a dashboard is empty (needs root)
	$(PYTEST) tests/alerts tests/vllm_cpu/test_panels.py --ignore=$(STORY) --cluster-name=alerts $(PYTEST_ARGS)

story: cluster-possible $(VENV) ## A load, a fault and an hour of idling, which docs/monitoring.md shows (needs root)
	$(PYTEST) $(STORY) --cluster-name=story $(PYTEST_ARGS)

runbooks: cluster-possible $(VENV) ## Every runbook that can be walked on a devcluster: the fault is provoked, its commands show what the page shows, its remedy heals it; RECORD_WALKS=1 writes when (needs root)
	$(PYTEST) -m slow $(WALKS) --cluster-name=runbooks $(PYTEST_ARGS)

chaos: cluster-possible $(VENV) ## Faults of every kind, one by one and at random, and all slow tests except those of releases, alerts and runbooks: more than an hour (needs root)
	$(PYTEST) -m slow tests --ignore=tests/release --ignore=tests/alerts --ignore=tests/runbooks --cluster-name=chaos $(PYTEST_ARGS)

bench: $(VENV) ## Measure how long the devcluster takes to start and stop (needs root)
	$(BIN)/python benchmarks/devcluster_startup.py $(ARGS)

bench-guard: $(VENV) ## Measure what the guard costs, compared with the same engine without it
	PYTHONPATH=tests $(BIN)/python benchmarks/guard_cost.py $(ARGS)

bench-scale: $(VENV) ## Measure what N LLMDeployments cost the operator and the API server (needs root)
	$(BIN)/python benchmarks/operator_scale.py --number $(N) $(ARGS)

bench-memory: $(VENV) ## Measure the operator's memory for N LLMDeployments, by kind
	PYTHONPATH=tests $(BIN)/python benchmarks/operator_memory.py --number $(N) $(ARGS)

bench-plan: $(VENV) ## Measure how many candidates the planner looks at in a second
	$(BIN)/python benchmarks/planning.py $(ARGS)

bench-wake: $(VENV) ## Measure how long a request to a sleeping model waits, and why (needs root)
	$(BIN)/python benchmarks/wake.py $(ARGS)

bench-starts: $(VENV) ## Measure how long both engines take on CPUs to their first token, as they are and through Slipway
	PYTHONPATH=tests $(BIN)/python benchmarks/cpu_starts.py $(ARGS)

bench-activator: $(VENV) ## Measure what the activator costs while it is in the data path
	$(BIN)/python benchmarks/activator_path.py $(ARGS)

bench-data-path: $(VENV) ## Compare the activator's data path with one on aiohttp: costs, memory, attacks
	PYTHONPATH=tests $(BIN)/python benchmarks/data_path.py $(ARGS)

bench-activator-memory: $(VENV) ## Measure the activator's memory, compared with what it accounts for
	PYTHONPATH=tests $(BIN)/python benchmarks/activator_memory.py $(ARGS)

fuzz: $(VENV) ## Search for requests that block the event loops of activator and guard; ten minutes each (ARGS="--seconds 60" for less)
	$(BIN)/python benchmarks/activator_fuzz.py --seconds 600 $(ARGS)
	PYTHONPATH=tests $(BIN)/python benchmarks/guard_fuzz.py --seconds 600 $(ARGS)

bench-load: $(VENV) ## Measure guard and activator at 1,000 requests a second
	$(BIN)/python benchmarks/throughput.py $(ARGS)

bench-weights: $(VENV) ## Measure bytes and seconds of a model's replicas for each cache of weights, compared with KServe's (needs root)
	PYTHONPATH=tests $(BIN)/python benchmarks/weights.py $(ARGS)

bench-peers: $(VENV) ## Measure wakes and warm requests, compared with KEDA's HTTP add-on in the same cluster (needs root)
	$(BIN)/python benchmarks/peers.py $(ARGS)

##@ Docs

docs: $(VENV) ## Build the site from docs/, runbooks/ and adrs/ into dist/site: complete without a network, and strict about links
	$(BIN)/python website/build.py $(ARGS)

docs-serve: docs ## Build it, and serve it on http://127.0.0.1:8000
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory dist/site 8000

##@ Release

images: $(VENV) ## Build images with buildah, podman or docker, the first that works: REGISTRY=registry.example.com/slipway, and PUSH=1 to push them
	@$(BIN)/slipway-release images --registry="$(REGISTRY)" $(RELEASE_OPTIONS) $(if $(BUILDER),--builder=$(BUILDER)) \
	  $(if $(TAG),--tag=$(TAG)) $(if $(PUSH),--push) $(IMAGES)

release: $(VENV) ## Build everything that is published into dist/, for REGISTRY; with PUSH=1 also push it (needs root)
	@$(BIN)/slipway-release make --registry="$(REGISTRY)" --dist="$(DIST)" $(RELEASE_OPTIONS) $(IMAGES)
	@$(if $(PUSH),$(BIN)/slipway-release publish --registry="$(REGISTRY)" --dist="$(DIST)")

release-test: $(VENV) ## Build each image of a release twice and compare: half an hour (needs root)
	$(PYTEST) tests/release $(PYTEST_ARGS)

##@ Check

lint: $(VENV) ## Style and common mistakes, by ruff; the words of CONTRIBUTING.md, section English
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/python tests/repository/english.py

types: $(VENV) ## Types, by mypy in strict mode
	$(BIN)/mypy

layers: $(VENV) ## Who may import whom, by import-linter
	$(BIN)/lint-imports
	cd tests && ../$(BIN)/lint-imports --no-cache

census: $(VENV) ## What a reader has to read: sizes, imports, names with several meanings, English; ARGS="/other/checkout" for another
	@PYTHONPATH=tests $(BIN)/python tests/repository/census.py $(ARGS)

check: $(VENV) ## Check licences of packages, the age of the audit, and that generated files are up to date: regenerates them and lists those that differed
	$(BIN)/python release/licences.py
	$(BIN)/python release/audit.py --check
	@before=$$($(fingerprint)); $(MAKE) generate; after=$$($(fingerprint)); \
	stale=$$(printf '%s\n' "$$before" "$$after" | sort | uniq -u | awk '{ print $$2 }' | sort -u | xargs); \
	[ -z "$$stale" ] || { echo "These generated files were out of date and have been regenerated; commit them: $$stale" >&2; exit 1; }

audit: $(VENV) ## Ask PyPI for known vulnerabilities of the images' packages, by pip-audit (needs the network)
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python release/audit.py

##@ Change

fmt: $(VENV) ## Format the code and repair what ruff can repair
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

generate: $(VENV) ## Regenerate files: the version from VERSION, the contract of operator and runtime, the fetcher's copy of what pushes images, the gRPC code for KEDA and the kubelet, the CRDs, recording rules and alerts, the charts' READMEs and schemas, Argo CD's configuration, the images' requirements, docs/reference, the examples of docs/planning.md, docs/cli.md and the README, the index of runbooks
	$(BIN)/python release/generate_versions.py
	cp runtime-image/sbom.py operator/sbom.py
	cp runtime-image/sbom.py fetcher/sbom.py
	$(BIN)/python fetcher/generate.py
	$(BIN)/python runtime-image/contract/generate.py
	$(BIN)/python operator/generate_protos.py
	$(BIN)/python operator/generate_crds.py
	$(BIN)/python monitoring/generate.py
	$(BIN)/python charts/generate.py
	PYTHONPATH=tests $(BIN)/python manifests/argocd/generate.py
	$(BIN)/python operator/generate_docs.py
	$(BIN)/python operator/generate_examples.py
	PYTHONPATH=tests $(BIN)/python cli/generate_docs.py
	$(BIN)/python runtime-image/generate_docs.py
	PYTHONPATH=tests $(BIN)/python benchmarks/plan_accuracy.py --write
	PYTHONPATH=tests $(BIN)/python -m support.pages.index
	$(EXPORT) slipway $(DEPENDENCIES) operator/requirements.txt
	$(EXPORT) slipway-fetcher $(DEPENDENCIES) fetcher/requirements.txt
	$(EXPORT) slipway-runtime --extra llamacpp $(DEPENDENCIES) runtime-image/requirements/llamacpp.txt

pictures: $(VENV) ## Draw the pictures and numbers of docs/monitoring.md again, from Prometheus' answers that are stored next to them
	$(BIN)/python -m slipway_monitoring.pictures

pin: $(VENV) ## Resolve the packages of the images with vLLM again, after a change of runtime-image/requirements/*.in
	cd runtime-image/requirements && $(RESOLVE) vllm-cuda.in --override vllm-cuda.override --output-file vllm-cuda.txt
	cd runtime-image/requirements && $(RESOLVE) vllm-cpu.in --override vllm-cpu.override --output-file vllm-cpu.txt

clean: ## Remove .venv and the tools' caches from the checkout
	rm -rf .venv .uv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo "Builds, images and the model stay in $(CACHE); with no cluster up, 'rm -rf $(CACHE)' removes them."

##@ Help

help: ## This list
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@printf '\n%s\n' Variables
	@printf '  %-15s %s\n' \
	  CLUSTER 'where cluster tests run: embedded (default), kind, or existing (the cluster of $$KUBECONFIG)' \
	  PYTEST_ARGS 'passed on to pytest, as in PYTEST_ARGS="-k dns -x"' \
	  N 'how many LLMDeployments "make bench-scale" and "bench-memory" make (now $(N))' \
	  PROMPT 'the prompt of "make demo"; without it, the demo asks for one' \
	  ARGS 'passed on to devcluster or the benchmark, as in ARGS="--name two"' \
	  WALKS 'which files "make runbooks" walks (now $(WALKS)); each writes what it walked, so they can run one after the other' \
	  REGISTRY 'the registry of images and charts, as in REGISTRY=registry.example.com/slipway' \
	  IMAGES 'which images, as in IMAGES="operator vllm-cuda" (now operator llamacpp vllm-cpu)' \
	  BASE 'base image instead of the usual one; BASE=debian makes one from packages, if no registry can be reached' \
	  SLIPWAY_CACHE 'folder for downloads and builds (now $(CACHE))'

# Variables and rules that the targets above use.

N ?= 1000
WALKS ?= tests/runbooks
DIST ?= dist
STORY = tests/alerts/test_story.py
RELEASE_OPTIONS = $(if $(BASE),--base=$(BASE)) $(if $(SOURCE),--source=$(SOURCE))
CACHE = $(or $(SLIPWAY_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/slipway)
fingerprint = find $(GENERATED) -type f -not -path '*/__pycache__/*' -exec sha256sum {} +

# uv from PATH, else by pip into .uv: a folder of its own, which also works where the system's Python is "externally managed".
$(VENV): uv.lock pyproject.toml $(wildcard */pyproject.toml)
	@uv --version > /dev/null 2>&1 \
	  || python3 -m pip install --quiet --upgrade --target .uv uv \
	  || { rm -rf .uv && python3 -m venv .uv && .uv/bin/pip install --quiet uv; } \
	  || { echo "make needs uv, or a Python with pip to fetch it: on Debian or Ubuntu, 'apt-get install python3-pip'." >&2; exit 1; }
	uv sync --locked
	@touch $@

cluster-possible:
	@case "$(CLUSTER)" in kind | existing) ;; *) [ "$$(id -u)" = 0 ] || { \
	  echo "The cluster tests need root here: run 'sudo -E make $(MAKECMDGOALS)', or add CLUSTER=kind where Docker answers." >&2; exit 1; };; esac

.PHONY: sources demo up down images release release-test test unit attacks engines charts rules vllm cluster alerts story runbooks chaos bench bench-activator bench-guard bench-memory bench-plan bench-scale bench-wake lint types layers census check fmt generate pictures pin clean help cluster-possible bench-activator-memory bench-data-path bench-load bench-weights bench-peers fuzz docs docs-serve audit
