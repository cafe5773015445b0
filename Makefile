# make demo    the lab, the bridge and the tunnel, side by side
# make test    the tests
# make help    the rest
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Kerberos is built on MIT's headers; without them its tests say what they miss.
KERBEROS := $(if $(shell command -v krb5-config 2>/dev/null),$(VENV)/.kerberos)

.PHONY: demo test fuzz lint types bench wheel clean help
.DEFAULT_GOAL := help

demo: $(READY)  ## send ConfigMgr requests through a bridge and a tunnel, side by side
	$(BIN)/ibcm-bridge demo --report demo-report

test: $(READY) $(KERBEROS)  ## run the tests
	$(BIN)/pytest

fuzz: $(READY)  ## each reader, given inputs nobody would think of (Linux on x86-64)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[fuzz]'
	$(BIN)/pytest tests/fuzzing

lint: $(READY)  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: wheel  ## mypy --strict, on the installed wheel
	cd $(VENV)/wheel && PYTHONPATH= MYPYPATH=. ../bin/mypy --strict \
		--config-file $(CURDIR)/pyproject.toml --python-executable ../bin/python -p ibcm_bridge

bench: $(READY)  ## measure beside mitmdump
	$(BIN)/python -m benchmarks

wheel: $(READY)  ## build the wheel and unpack it into the environment
	rm -rf build dist $(VENV)/wheel
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .
	$(BIN)/pip install --quiet --no-deps --target $(VENV)/wheel dist/*.whl
	rm -rf build

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 12))' || \
		{ echo "Python 3.12 or newer is needed: make PYTHON=python3.13 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

$(VENV)/.kerberos: $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[kerberos]'
	@touch $@

clean:  ## remove what the above made
	rm -rf $(VENV) build dist demo-report *.egg-info

help:  ## this
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12
