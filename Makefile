# make demo    the lab, the bridge and the tunnel, side by side
# make test    the tests
# make help    the rest
PYTHON ?= python3
VENV ?= .venv
# The tests run on an older mitmproxy too: make MITMPROXY=12.2.3 test
MITMPROXY ?=
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check
# One stamp for each set of packages; another mitmproxy is another environment.
INSTALLED := $(VENV)/.installed$(MITMPROXY)
READY := $(VENV)/.ready$(MITMPROXY)
KERBEROS := $(VENV)/.kerberos$(MITMPROXY)
# All but the folders whose tests start servers or build the wheel, and what is marked slow.
QUICK := --hypothesis-profile quick -m 'not slow' \
	$(addprefix --ignore=tests/,addons fuzzing integration lab repository)

.PHONY: demo test quick needs fuzz lint types bench wheel clean help python
.DEFAULT_GOAL := help

demo: $(INSTALLED)  ## send ConfigMgr requests through a bridge and a tunnel, side by side
	$(BIN)/ibcm-bridge demo --report demo-report

test: needs $(READY) $(KERBEROS)  ## all tests; brings what they drive (by apt, on Debian and Ubuntu)
	@echo "The tests take about fifteen minutes on two cores; make quick takes one."
	$(BIN)/pytest

quick: $(READY)  ## the tests that need no server, in under a minute
	$(BIN)/pytest $(QUICK)

needs: python  ## bring the programs that the tests drive
	@$(PYTHON) tests/needs.py

fuzz: $(READY)  ## each reader, given inputs nobody would think of (Linux on x86-64)
	$(call install,[fuzz])
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

python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 12))' || \
		{ echo "Python 3.12 or newer is needed: make PYTHON=python3.13 $(MAKECMDGOALS)"; exit 1; }

COMMA := ,
# With progress: on a machine that has none of it this downloads for a minute.
install = $(PIP) install -c constraints.txt -e '.$(1)' \
	$(if $(MITMPROXY),&& $(PIP) install -e '.$(1)' 'mitmproxy==$(MITMPROXY)')

$(INSTALLED): pyproject.toml constraints.txt | python
	@rm -f $(VENV)/.installed* $(VENV)/.ready* $(VENV)/.kerberos*
	$(PYTHON) -m venv $(VENV)
	$(call install)
	@touch $@

$(READY): $(INSTALLED)
	$(call install,[test])
	@touch $@

# Of the tests of Kerberos; three times as fast if nobody optimizes what is compiled.
$(KERBEROS): $(READY) | needs
	@if $(PYTHON) tests/needs.py --compiler; then \
		echo "Compiling gssapi and krb5 takes about a minute."; \
		CFLAGS=-O0 $(call install,[test$(COMMA)kerberos]) && touch $@; \
	fi

clean:  ## remove what the above made
	rm -rf $(VENV) build dist demo-report *.egg-info

help:  ## this
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12
