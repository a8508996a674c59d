# Every target sets up what it needs, once. Needed beforehand: Python 3.10 or newer, make and git.
#   make demo    profile the example app and show what was written
#   make test    run the tests (ARGS="-k gate" is handed to pytest; ARGS="-m long" runs the ones that take minutes)
#   make core    run the fast part: no browser, and of the real servers only what proves that counts are exact
#   make truth   run what proves the engines: counts, paths and shares against programs of known calls
#   make failures  write the published table of faults anew, from what the tests observe
#   make soak    run hundreds of sessions on busy workers (ten minutes)
#   make mutation  turn off one check at a time, and see a test fail (long; ARGS="gates", ARGS="--minutes 20")
#   make lint    ruff;  make types: mypy --strict;  make coverage: the tests with branch coverage
#   make bench   measure what profiling costs and how true it is (minutes; ARGS="--quick" takes one, ARGS="heap --add" an area)
#   make bench-peers  the same beside other profilers, in the same run
#   make pictures  take the pictures of the documentation in a real browser (a minute), for the next make docs
#   make docs    build the documentation into docs/_build/html; a warning is an error
#   make dist    build the wheel and the sdist into dist/, and check them as the package index does
#   make venv    only set up;  make clean: remove all that make made
# PYTHON=python3.13 selects the interpreter, which then has an environment of its own (.venv-3.13).

.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

ifdef PYTHON
VENV ?= .venv-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
else
PYTHON := $(shell for name in python3 python3.13 python3.12 python3.11 python3.10 python; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && echo "$$name" && break; done)
VENV ?= .venv
endif
RUN := $(VENV)/bin/python
PIP := $(VENV)/bin/python -m pip -qq --disable-pip-version-check install
PYTEST := $(RUN) -m pytest
# four at a time (they wait for servers and browsers half of the time), the tests of a file one after the other;
# PARALLEL= runs them all in one process
PARALLEL := -n 4 --dist loadfile
SLOW := tests/browser tests/integration tests/promises tests/examples tests/__pycache__
CORE = $(filter-out $(SLOW),$(patsubst %/,%,$(wildcard tests/*/ tests/test_*.py))) tests/integration/test_known_truth.py

TRUTH := tests/engines tests/formats/test_heapsnapshot_in_memlab.py tests/model tests/sessions tests/test_extension.py \
	$(wildcard tests/integration/test_known_*.py)

.PHONY: help
help:
	@sed -n '/^#/s/^# \{0,1\}//p;/^$$/q' Makefile

$(VENV)/made:
	@test -n "$(PYTHON)" || { echo "No Python 3.10 or newer was found; install one, or name it: make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "$(PYTHON) is older than 3.10, which is the oldest that is supported; name another: make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) cannot make environments: its ensurepip module is missing; install it (Debian: apt-get install python3-venv)" >&2; exit 1; }
	@echo "Setting up $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/project: $(VENV)/made setup.cfg setup.py
	@echo "Installing the project"
	@$(PIP) --editable .
	@touch $@

$(VENV)/%: requirements/%.txt $(VENV)/project
	@echo "Installing $<"
	@$(PIP) --requirement $<
	@touch $@

$(VENV)/test: requirements/base.txt requirements/demo.txt requirements/docs.txt
$(VENV)/bench: $(VENV)/demo
# it is compiled into one interpreter; what pip keeps of it may be another's of the same version
$(VENV)/uwsgi: PIP += --no-cache-dir

.PHONY: venv
venv: $(VENV)/test $(VENV)/lint

.PHONY: test
test: $(VENV)/test
	$(PYTEST) $(PARALLEL) $(ARGS)

.PHONY: core
core: $(VENV)/test
	$(PYTEST) $(PARALLEL) $(CORE) $(ARGS)

.PHONY: truth
truth: $(VENV)/test
	$(PYTEST) $(PARALLEL) $(TRUTH) $(ARGS)

.PHONY: soak
soak: $(VENV)/test
	$(PYTEST) tests/promises/test_soak.py -m "long or not long" $(ARGS)

# the rows keep their places; look at the difference before it is committed
.PHONY: failures
failures: $(VENV)/test
	PROFILING_FAILURES=$(CURDIR)/docs/explanation/failures.json $(PYTEST) $(addprefix tests/promises/test_,clock.py disks.py \
		ends.py inspector.py redis.py storage.py worker_deaths.py workers.py) $(ARGS)

.PHONY: coverage
coverage: $(VENV)/test
	$(RUN) -m coverage erase
	$(RUN) -m coverage run -m pytest $(ARGS)
	$(RUN) -m coverage combine --quiet
	$(RUN) -m coverage report

.PHONY: lint
lint: $(VENV)/lint
	$(RUN) -m ruff check .

.PHONY: mutation
mutation: $(VENV)/test
	nice -n 10 $(RUN) -m tests.mutation $(ARGS)

# the code that only newer Pythons reach is checked as well as the code that only older ones do
.PHONY: types
types: $(VENV)/lint $(VENV)/test
	$(RUN) -m mypy --python-version 3.10
	$(RUN) -m mypy --python-version 3.13

.PHONY: demo
demo: $(VENV)/demo
	@$(RUN) examples/demo.py $(ARGS)

.PHONY: bench
bench: $(VENV)/demo
	$(RUN) -m benchmarks --json benchmarks.json --page benchmarks.html $(ARGS)

.PHONY: bench-peers
bench-peers: $(VENV)/bench
	$(RUN) -m benchmarks --peers --json benchmarks.json --page benchmarks.html $(ARGS)

.PHONY: pictures
pictures: $(VENV)/test
	PROFILING_PICTURES=$(CURDIR)/docs/pictures $(PYTEST) tests/browser/test_pictures.py tests/browser/test_live_devtools.py $(ARGS)

.PHONY: docs
docs: $(VENV)/docs
	$(RUN) -m sphinx -W --keep-going -E -q -b html docs docs/_build/html
	@echo "Open docs/_build/html/index.html"

.PHONY: dist
dist: $(VENV)/made
	@$(PIP) build twine
	$(RUN) -m build --outdir dist .
	$(RUN) -m twine check --strict dist/*

.PHONY: clean
clean:
	rm -rf .venv .venv-* .tox build dist htmlcov .coverage .coverage.* .mutation* .hypothesis .mypy_cache .pytest_cache .ruff_cache *.egg-info
