# make demo   from pictures to answers: export, verify, index, search; writes a page
# make serve  what make demo made, as a service with a page
# make test   the tests, as CI runs them
# make test-all  the trainers, every form of every family and every build too; before a release
# make faults  what breaks it: damage, kills, any input; a table of tries
# make test-lowest  the runtime half and the service with the lowest versions that pyproject.toml allows, no torch
# make lint   formatting, lint, types, import rules
# make docs   the documentation, into site/
# make bench  the benchmarks, each prints a table
#
# Everything goes into .venv. PIP_INSTALL_ARGS is passed to pip: on Linux, PyPI's torch brings
# gigabytes of CUDA libraries; a CPU build is smaller:
#   make demo PIP_INSTALL_ARGS='--extra-index-url https://download.pytorch.org/whl/cpu'

PYTHON ?= python3
PIP_INSTALL_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet $(PIP_INSTALL_ARGS) -c constraints.txt
LOWEST := .venv-lowest
# Of the runtime half and the service, without those that build graphs, compare with transformers, open a
# browser or load what only the benchmarks need.
RUNTIME_TESTS ?= tests/runtime tests/bundle tests/serving --ignore tests/runtime/backends/tensorrt \
  --ignore tests/serving/test_page_in_browser.py --ignore tests/serving/test_overload.py \
  --ignore tests/runtime/backends/test_opening.py --ignore tests/runtime/text/test_wordpiece.py \
  --ignore tests/bundle/test_external.py
DEMO_OUTPUT ?= demo-output

.PHONY: faults demo serve test test-all test-fast test-lowest lint docs format bench clean

demo: $(VENV)/.demo
	$(BIN)/python -m examples.pictures.demo --output $(DEMO_OUTPUT)

# Of what the demo made; `make serve PORT=8081` listens elsewhere.
PORT ?= 8080

serve: $(VENV)/.demo
	$(PIP) -e '.[cpu,serve]'
	$(BIN)/itr-deploy serve $(DEMO_OUTPUT)/bundle --gallery $(DEMO_OUTPUT)/gallery --detector $(DEMO_OUTPUT)/detector \
	  --pictures $(DEMO_OUTPUT)/data/pictures/test --port $(PORT)

# A process of tests a core, and one thread of PyTorch in each: tracing a model has no use for more.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder \
  --durations 25

test: $(VENV)/.dev
	$(PYTEST) -m "not full"

test-all: $(VENV)/.dev
	$(PYTEST) -m ""

test-fast: $(VENV)/.dev
	$(BIN)/python -m pytest

# All tries of tests/faults; `make test` makes a twentieth of them.
faults: $(VENV)/.dev
	FAULTS=all OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "" -s tests/faults

# The bundles are those that the tests export with the usual versions: here is nothing to export with.
test-lowest: $(VENV)/.dev
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(LOWEST)
	$(BIN)/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct \
	  -e '.[cpu,serve,client,faiss]' 'filelock>=3.16' 'hypothesis>=6.120' 'pytest>=8.3' 'pytest-xdist>=3.6'
	state=$$($(BIN)/python -m tests.support.exports) && ITR_DEPLOY_TEST_STATE=$$state OMP_NUM_THREADS=1 \
	  $(LOWEST)/bin/python -m pytest -n auto --dist loadfile $(RUNTIME_TESTS)

lint: $(VENV)/.dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

# A warning, such as a link to nowhere, is an error.
docs: $(VENV)/.dev
	$(BIN)/zensical build --clean --strict

format: $(VENV)/.dev
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: $(VENV)/.demo
	$(BIN)/python -m benchmarks.matching
	$(BIN)/python -m benchmarks.matching --family lhsc
	$(BIN)/python -m benchmarks.matching --family sgraf --module SAF
	$(BIN)/python -m benchmarks.matching --family sgraf --module SGR
	$(BIN)/python -m benchmarks.matching --family scan --direction t2i
	$(BIN)/python -m benchmarks.matching --family scan --direction i2t
	$(BIN)/python -m benchmarks.matching --family dime --direction i2t --images 1000 --texts 4
	$(BIN)/python -m benchmarks.matching --family dime --direction t2i --images 1000 --texts 4
	$(BIN)/python -m benchmarks.cascade
	$(BIN)/python -m benchmarks.dual
	$(BIN)/python -m benchmarks.limit
	$(BIN)/python -m benchmarks.coarse
	$(BIN)/python -m benchmarks.threads
	$(BIN)/python -m benchmarks.creep
	$(BIN)/python -m benchmarks.cold_start
	$(BIN)/python -m benchmarks.galleries

clean:
	rm -rf $(VENV) $(LOWEST) $(DEMO_OUTPUT) build dist site

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "error: $$($(PYTHON) --version) is too old; Python 3.10 or newer is needed: make PYTHON=python3.12 ..." >&2; exit 4; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.demo: $(VENV)/.created pyproject.toml constraints.txt
	@echo "installing into $(VENV), once"
	$(PIP) -e '.[cpu,export]'
	@touch $@

$(VENV)/.dev: $(VENV)/.created pyproject.toml constraints.txt
	@echo "installing into $(VENV), once"
	$(PIP) -e '.[cpu,export,dev]'
	@touch $@ $(VENV)/.demo
