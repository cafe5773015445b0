# make demo    send ConfigMgr requests through a bridge and a tunnel
# make test    run all tests
# make help    list all targets
PYTHON ?= python3
VENV ?= .venv
# To test with an older mitmproxy: make MITMPROXY=12.2.3 test
MITMPROXY ?=
# Some tests, or other options of pytest: make TESTS=tests/policy test
TESTS :=
# A short soak: make MINUTES=3 soak
MINUTES ?= 20
# All commits of a branch, instead of the last one: make BASE=main cost
BASE :=
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check
# One stamp file for each set of packages, and for each MITMPROXY.
INSTALLED := $(VENV)/.installed$(MITMPROXY)
READY := $(VENV)/.ready$(MITMPROXY)
KERBEROS := $(VENV)/.kerberos$(MITMPROXY)
# Without tests marked slow, and without the folders whose tests start servers or build the wheel.
QUICK := --hypothesis-profile quick -m 'not slow' \
	$(addprefix --ignore=tests/,addons fuzzing integration lab repository)

.PHONY: demo test environment quick needs fuzz soak containers sbom lint types images bench comparison cost wheel deb clean help python
.DEFAULT_GOAL := help

demo: $(INSTALLED)  ## send ConfigMgr requests through a bridge and a tunnel, side by side
	$(BIN)/ibcm-bridge demo --report demo-report

test: environment  ## run all tests; installs the programs they need (Debian, Ubuntu)
	@$(if $(TESTS),,echo "All tests take about an hour on two cores; make quick takes one minute.")
	$(BIN)/pytest $(TESTS)

environment: needs $(READY) $(KERBEROS)  ## install the programs and packages that make test needs

quick: $(READY)  ## run the tests that start no server, in under a minute
	$(BIN)/pytest $(QUICK)

needs: python  ## install the programs that the tests need (Debian, Ubuntu)
	@$(PYTHON) tests/needs.py

fuzz: $(READY)  ## fuzz every parser (Linux on x86-64)
	$(call install,[fuzz])
	$(BIN)/pytest tests/fuzzing

soak: needs $(READY)  ## run for MINUTES (20) under load, and while parts are killed (root)
	$(BIN)/pytest --minutes $(MINUTES) tests/soak

containers: needs $(READY)  ## build the image, and run the lab in containers (root, podman)
	$(call install,[image])
	$(BIN)/pytest --containers tests/containers

SBOM ?= dist/sbom.cdx.json
sbom: $(READY)  ## list the Python packages of the image (CycloneDX)
	@mkdir -p $(dir $(SBOM))
	$(call install,[image]) >/dev/null
	$(BIN)/cyclonedx-py requirements deploy/requirements.txt --pyproject pyproject.toml \
		--mc-type application --output-reproducible --output-file $(SBOM)

images: $(READY)  ## make the images of the documentation (needs Chromium)
	$(BIN)/python docs/images/make.py

lint: $(READY)  ## run ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: wheel  ## run mypy --strict on the built wheel
	cd $(VENV)/wheel && PYTHONPATH= MYPYPATH=. ../bin/mypy --strict \
		--config-file $(CURDIR)/pyproject.toml --python-executable ../bin/python -p ibcm_bridge

bench: $(READY)  ## compare the bridge with mitmdump and other proxies
	$(BIN)/python -m benchmarks

comparison: needs $(READY)  ## check other proxies with exported policies, and write the comparison
	$(BIN)/python -m tests.repository.comparison_page

cost: needs $(INSTALLED)  ## count instructions, and compare with the parent commit (or BASE)
	$(BIN)/python -m benchmarks.cost $(BASE)

wheel: $(READY)  ## build the wheel, and unpack it into the environment
	rm -rf build dist $(VENV)/wheel
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .
	$(BIN)/pip install --quiet --no-deps --target $(VENV)/wheel dist/*.whl
	rm -rf build

deb: python  ## build a Debian package with the libraries (Debian 13 or newer)
	PYTHON=$$(command -v $(PYTHON)) deploy/debian/build

python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 12))' || \
		{ echo "Python 3.12 or newer is required: make PYTHON=python3.13 $(MAKECMDGOALS)"; exit 1; }

COMMA := ,
# Not quiet: without a cache, pip downloads for a minute.
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

# For the Kerberos tests. Without optimization, compiling is three times as fast.
$(KERBEROS): $(READY) | needs
	@if $(PYTHON) tests/needs.py --compiler; then \
		echo "Compiling gssapi and krb5 takes about a minute."; \
		CFLAGS=-O0 $(call install,[test$(COMMA)kerberos]) && touch $@; \
	fi

clean:  ## remove the environment and all build results
	rm -rf $(VENV) build dist demo-report *.egg-info

help:  ## list all targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12
