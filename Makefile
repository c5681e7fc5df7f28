# Needs python3 and make only: every target installs what it needs into .venv.

PYTHON ?= python3
REPOSITORY ?= models
# Processes that `make test` runs in: one more than two cores, for many tests wait. A file's tests stay in one.
JOBS ?= $(shell test "$$(nproc 2>/dev/null || echo 1)" -ge 2 && echo 3 || echo 1)
ZOO = .venv/bin/zoo
PIP = .venv/bin/python -m pip --disable-pip-version-check

.PHONY: help install install-dev train export verify serve docs site format check test test-all test-openvino bench examples exporter-suites differential proto proto-check cards build clean
.DEFAULT_GOAL := help

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

# -- set-up ---------------------------------------------------------------------------------------

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Layer Zoo needs Python 3.11 or newer, and $(PYTHON) is " + sys.version.split()[0] + ": make PYTHON=python3.x") if sys.version_info < (3, 11) else None'
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "python3 -m venv failed: on Debian and Ubuntu it needs 'apt-get install python3-venv'" >&2; exit 1; }

.venv/.installed: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) install --quiet --upgrade pip
	$(PIP) install --quiet --constraint constraints.txt --editable '.[cpu,train]'
	@touch $@

.venv/.installed-dev: .venv/.installed
	$(PIP) install --quiet --constraint constraints.txt --group dev
	@touch $@

.venv/.installed-ray: .venv/.installed-dev
	$(PIP) install --quiet --constraint constraints.txt --group ray
	@touch $@

# tf-keras wants TensorFlow by another name than tensorflow-cpu.
.venv/.installed-backends: .venv/.installed-dev
	$(PIP) install --quiet --constraint constraints.txt --group backends
	$(PIP) install --quiet --constraint constraints.txt --no-deps tf-keras
	@touch $@

# tensorflow-text, which keras-hub requires for its tokenizers, wants TensorFlow by that other name too.
.venv/.installed-hub: .venv/.installed-dev
	$(PIP) install --quiet --constraint constraints.txt --no-deps --group hub
	@touch $@

.venv/.installed-stores: .venv/.installed-dev
	$(PIP) install --quiet --constraint constraints.txt --group stores
	@touch $@

# Azure's store, which exists for node alone; without npm its tests are skipped.
build/azurite/.installed: Makefile
	@if command -v npm >/dev/null; then npm install --silent --no-audit --no-fund --prefix build/azurite azurite@3.37.0; else echo "npm is not there: the tests of Azure's store are skipped" >&2; fi
	@mkdir -p build/azurite
	@touch $@

.venv/.installed-docs: .venv/.installed
	$(PIP) install --quiet --constraint constraints.txt --group docs
	@touch $@

install: .venv/.installed ## create .venv with the dependencies of training and serving

install-dev: .venv/.installed-dev ## install the development tools too

# -- models ---------------------------------------------------------------------------------

# `zoo export` also trains missing models. Beside the goals export or serve, `train` does nothing: TensorFlow is
# imported once, and `make -j` trains nothing twice.
ifneq (,$(filter export serve,$(MAKECMDGOALS)))
train:
	@:
else
train: .venv/.installed
	@$(ZOO) train
endif
train: ## train every registered model (build/runs)

export: .venv/.installed ## train missing models; export, verify and publish all (models)
	@$(ZOO) export --repository $(REPOSITORY)

verify: export ## verify the published models again
	@$(ZOO) verify --repository $(REPOSITORY)

serve: export ## serve the published models on 127.0.0.1:8001
	@exec $(ZOO) serve $(REPOSITORY)

# Written anew, so that a page that is gone is gone; what Sphinx has read of the others it keeps.
docs: .venv/.installed-docs ## build the documentation (build/docs)
	@rm -rf build/docs
	@.venv/bin/python -m sphinx --quiet --fail-on-warning --doctree-dir build/doctrees docs build/docs

site: export docs ## build the gallery (site), a static site whose models run in the browser, and in it the documentation
	@$(ZOO) site --repository $(REPOSITORY) --docs build/docs --time

# -- development ----------------------------------------------------------------------------------

format: .venv/.installed-dev ## format and fix
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix .

check: .venv/.installed-dev proto-check ## check formatting, lint, types, import rules and generated code
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports

# The tests start servers by the hundred, each of which would compile the project again without its bytecode.
test: .venv/.installed-dev ## run the tests in three processes, minutes (JOBS=1: in one)
	@env -u PYTHONDONTWRITEBYTECODE .venv/bin/python -m pytest -m "not slow" $(if $(filter-out 1,$(JOBS)),-n $(JOBS) --dist loadfile --no-loadscope-reorder)

test-all: .venv/.installed-dev .venv/.installed-ray .venv/.installed-stores .venv/.installed-backends .venv/.installed-hub build/azurite/.installed ## run all tests, the slow ones too, in two processes: an hour
	@env -u PYTHONDONTWRITEBYTECODE .venv/bin/python -m pytest $(if $(filter-out 1,$(JOBS)),-n 2 --dist loadfile --no-loadscope-reorder)

# A folder of its own: onnxruntime's wheels share one import name.
build/openvino/.installed: constraints.txt | .venv/.installed-dev
	@rm -rf build/openvino
	@$(PIP) install --quiet --no-deps --constraint constraints.txt --target build/openvino onnxruntime-openvino
	@touch $@

test-openvino: build/openvino/.installed ## run the tests of a second execution provider, with OpenVINO
	@PYTHONPATH=build/openvino .venv/bin/python -m pytest tests/server/backends/test_second_provider.py

bench: .venv/.installed-dev ## measure server and exporter against others (BENCH=--quick: a short run)
	@.venv/bin/python -m bench --repository $(REPOSITORY) $(BENCH)
	@.venv/bin/python -m bench.export

examples: .venv/.installed-dev ## run Triton's client examples against zoo serve (CLIENT=/path/to/checkout)
	@test -n "$(CLIENT)" || { echo "give a checkout of github.com/triton-inference-server/client: make examples CLIENT=/path/to/it" >&2; exit 2; }
	@$(PIP) install --quiet --constraint constraints.txt --group examples
	@.venv/bin/python tests/interop/client_examples.py "$(CLIENT)"

exporter-suites: .venv/.installed-dev ## run another exporter's tests through ours (CHECKOUT=/path/to/it, SUITES="--exporter tf2onnx")
	@test -n "$(CHECKOUT)" || { echo "give a checkout of github.com/onnx/tensorflow-onnx or github.com/keras-team/keras: make exporter-suites CHECKOUT=/path/to/it" >&2; exit 2; }
	@.venv/bin/python tests/interop/exporter_suites.py "$(CHECKOUT)" $(SUITES)

differential: .venv/.installed-dev ## send the same requests to Triton and to zoo serve; report differences
	@.venv/bin/python -m tests.interop.differential

proto: .venv/.installed-dev ## regenerate proto/zoo_proto
	@.venv/bin/python proto/generate.py

proto-check: .venv/.installed-dev ## check that the committed stubs are what the generator writes
	@.venv/bin/python proto/generate.py --check

cards: export ## rewrite the README's table of models from the manifests
	@$(ZOO) list --repository $(REPOSITORY) --markdown README.md

build: .venv/.installed-dev export ## build wheel and source archive, and the wheel of the published models
	@.venv/bin/python -m build --quiet
	@.venv/bin/python packaging/models_wheel.py $(REPOSITORY) dist

clean: ## remove build, dist, models and site; keep .venv
	rm -rf build dist models site
