# make demo    set up, then send a text to a server of its own and show the reply
# make test    set up, then run the tests, in about four minutes
# make help    the other targets

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RUN := $(BIN)/python

# Tests and benchmarks start many processes; without kept bytecode each would compile all that it imports.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo test test-all test-rest coverage test-others mutants mutation simulate steady fuzz fuzz-fast fuzz-keep soak lint format docs site bench bench-quick bench-guard clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# One stamp per set of extras, so that a set is installed once and again only when pyproject.toml changes.
$(VENV)/.installed-%: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo 'make: $(PYTHON) is older than Python 3.11; try: make PYTHON=/path/to/python3.11' >&2; exit 1; }
	@echo "setting up $(VENV) with what '$*' needs, once: about half a minute"
	@test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	@$(RUN) -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

demo: $(VENV)/.installed-cli  ## send a text to a server of its own and show the reply
	@$(RUN) examples/demo.py

test: $(VENV)/.installed-test  ## run the tests, without those marked slow
	@$(RUN) -m pytest -n auto --dist worksteal -m 'not slow' $(ARGS)

test-all: $(VENV)/.installed-test-all  ## run all tests, with everything that one of them needs
	@$(RUN) -m pytest -n auto --dist worksteal $(ARGS)

# Some tests measure memory, or what is imported: the counting takes memory, and is imported.
COUNTED := not slow and not uncounted
coverage: $(VENV)/.installed-test-all  ## run make test with branches counted; fail where there are fewer than there were
	@$(RUN) -m coverage erase
	@$(RUN) -m coverage run -m pytest -n auto --dist worksteal -m '$(COUNTED)' $(ARGS)
	@$(RUN) -m coverage combine --quiet
	@$(RUN) -m coverage report

test-rest: $(VENV)/.installed-test-all  ## run the tests that make coverage leaves out
	@$(RUN) -m pytest -n auto --dist worksteal -m 'not ($(COUNTED))' $(ARGS)

# The other interpreters are used where they are found, on the path or as pyenv keeps them.
OTHERS := 3.12 3.13 3.14 3.15
test-others:  ## run the tests on every other Python that is found, too
	@for version in $(OTHERS); do \
	    for python in python$$version $${PYENV_ROOT:-$$HOME/.pyenv}/versions/$$version*/bin/python; do \
	        if $$python -c '' 2>/dev/null; then \
	            echo "Python $$version: $$python"; \
	            $(MAKE) --no-print-directory test PYTHON=$$python VENV=.venv-$$version || exit 1; \
	            continue 2; \
	        fi; \
	    done; \
	    echo "Python $$version: not found, skipped"; \
	done

lint: $(VENV)/.installed-lint  ## check style, types and generated tables
	@$(RUN) -m ruff check
	@$(RUN) -m ruff format --check
	@$(RUN) -m mypy
	@$(RUN) -m pyright --pythonpath $(RUN)
	@$(RUN) spec/tables.py --check
	@$(RUN) spec/make_vectors.py --check
	@$(RUN) spec/make_dissectors.py --check
	@$(RUN) spec/make_man.py --check

format: $(VENV)/.installed-lint  ## bring the code into its format
	@$(RUN) -m ruff check --fix
	@$(RUN) -m ruff format

docs: $(VENV)/.installed-test  ## write the generated tables, vectors, dissectors and manual pages
	@$(RUN) spec/tables.py
	@$(RUN) spec/make_vectors.py
	@$(RUN) spec/make_dissectors.py
	@$(RUN) spec/make_man.py

site: $(VENV)/.installed-site  ## write the documents as a site, to build/site/docs/index.html
	@$(RUN) -m sphinx -c docs -b html -q -W --keep-going . build/site

mutants: $(VENV)/.installed-test  ## run the conformance suite against each known bug
	@$(RUN) -m tests.mutants.run_mutants $(ARGS)

simulate: $(VENV)/.installed-test  ## run 100,000 schedules of the server on a simulated machine, and find planted bugs
	@$(RUN) -m tests.simulation.run_simulation $(ARGS)

mutation: $(VENV)/.installed-test  ## change the protocol in small ways, and see that a test notices
	@$(RUN) -m tests.mutation.run_mutation $(ARGS)

steady: $(VENV)/.installed-test  ## run the conformance suite ten times against each peer that conforms
	@$(RUN) -m tests.conformance.run_steady $(ARGS)

# New inputs gather in build/fuzz, where the next run finds them; fuzz-keep takes what they add to the corpus.
FUZZ_SECONDS ?= 60
FUZZ := 'fuzz_codec' 'fuzz_connections server' 'fuzz_connections client'
fuzz: $(VENV)/.installed-fuzz  ## search for octets that break the protocol, FUZZ_SECONDS=60 for each of 3 targets
	@for target in $(FUZZ); do \
	    echo "tests.fuzz.$$target"; \
	    $(RUN) -m tests.fuzz.$$target -max_total_time=$(FUZZ_SECONDS) || exit 1; \
	done

FUZZ_INPUTS ?= 10000000
fuzz-fast: $(VENV)/.installed-test  ## the same without atheris and the grammar: FUZZ_INPUTS=10000000 for each target
	@for target in codec server client; do \
	    $(RUN) -m tests.fuzz.fast $$target --inputs $(FUZZ_INPUTS) || exit 1; \
	done

fuzz-keep: $(VENV)/.installed-fuzz  ## keep the inputs of make fuzz that reach something new
	@for target in codec server client; do \
	    case $$target in codec) module=fuzz_codec;; *) module="fuzz_connections $$target";; esac; \
	    $(RUN) -m tests.fuzz.$$module -merge=1 || exit 1; \
	done

SOAK_SECONDS ?= 120
soak: $(VENV)/.installed-cli  ## load a server with all kinds of clients for SOAK_SECONDS=120
	@$(RUN) -m tests.soak.soak --seconds $(SOAK_SECONDS)

bench: $(VENV)/.installed-bench  ## measure beside every peer, about a quarter of an hour; ARGS="--rows churn --rounds 3"
	@$(RUN) -m benchmarks $(ARGS)

bench-quick: $(VENV)/.installed-bench  ## the same in about a minute: a few rows, short rounds
	@$(RUN) -m benchmarks --quick $(ARGS)

bench-guard: $(VENV)/.installed-test  ## fail if the server has become ten times slower
	@$(RUN) -m benchmarks.guard $(ARGS)

clean:  ## remove the environments and everything built
	rm -rf .venv .venv-* build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
