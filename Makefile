# Every target is one command. `make` without a target prints the list.
PYTHON  ?= python3
VENV    ?= .venv
BIN     := $(VENV)/bin
PROFILE ?= full
ASSETS  := PYTHONPATH=tests/assets
LOOPBACK := unshare --net sh -c 'ip link set lo up && exec "$$@"' sh
RUNC    := apt-get install -y --no-install-recommends runc
EVAL     = $(BIN)/speedrun eval --record $(RECORD) --profile $(PROFILE) \
  $(if $(SUBMISSION),--submission $(SUBMISSION)) $(if $(RUNTIME),--runtime $(RUNTIME)) \
  $(if $(IMAGE),--image $(IMAGE)) $(if $(GPUS),--gpus $(GPUS)) $(if $(OUT),--out $(OUT)) $(EVALFLAGS)

.DEFAULT_GOAL := help
.PHONY: help setup runtime eval plan doctor image verify test unit coverage hostile crash bench lint format reference constraints reproduce pack submit report

need-%:
	@[ -n "$($*)" ] || { printf "error: %s=... is missing\nhint: make help\n" "$*" >&2; exit 2; }

help: ## list the targets
	@echo "usage: make TARGET [NAME=value ...]"
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.installed ## create the virtual environment in .venv

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -m venv $(VENV) || { printf "error: the Python module venv is missing\nhint: as root: apt-get install -y python3-venv\n" >&2; exit 3; }
	@$(BIN)/python -m pip install --disable-pip-version-check --editable '.[dev]' --constraint constraints.txt >&2
	@touch $@

runtime: ## check for a container runtime; with INSTALL=1, install runc if there is none
	@PATH="$$PATH:/usr/sbin:/sbin"; { command -v runc || [ -S /run/docker.sock ] || [ -n "$$DOCKER_HOST" ]; } >/dev/null && exit 0; \
	if [ "$(INSTALL)" = 1 ] && [ "$$(id -u)" = 0 ]; then { apt-get update -qq && $(RUNC); } >&2; \
	else printf "error: no container runtime found\nhint: as root: $(RUNC); or pass INSTALL=1\n" >&2; exit 3; fi

eval: need-RECORD setup runtime ## run a submission and sign the result: RECORD=3 [PROFILE=smoke] [SUBMISSION=DIR] [RUNTIME=] [IMAGE=] [GPUS=] [OUT=]
	@$(EVAL)

plan: need-RECORD setup ## print what `make eval` would do: RECORD=3 [PROFILE=smoke] [...]
	@$(EVAL) --plan

doctor: setup ## check that this machine can run evaluations
	@$(BIN)/speedrun doctor

image: need-ERA setup ## rebuild an image and check its committed digests: ERA=cpu
	@$(BIN)/speedrun image verify $(ERA)

verify: need-BUNDLE setup ## verify a signed result: BUNDLE=runs/<run_id>
	@$(BIN)/speedrun bundle verify $(BUNDLE)

reproduce: need-BUNDLE setup runtime ## rerun a signed result and compare: BUNDLE=runs/<run_id> or a capsule [RUNTIME=] [OUT=]
	@$(BIN)/speedrun reproduce $(BUNDLE) $(if $(RUNTIME),--runtime $(RUNTIME)) $(if $(OUT),--out $(OUT)) $(EVALFLAGS)

pack: need-BUNDLE setup ## pack a run into one archive for an offline rerun: BUNDLE=runs/<run_id> [FILE=]
	@$(BIN)/speedrun pack $(BUNDLE) $(if $(FILE),--out $(FILE))

submit: need-BUNDLE need-AGENT need-TO setup ## prepare a leaderboard submission: BUNDLE=runs/<run_id> AGENT=name TO=DIR or hf://owner/name
	@$(BIN)/speedrun submit $(BUNDLE) --agent $(AGENT) --to $(TO)

report: need-BOARD setup ## build a leaderboard page: BOARD=DIR [SITE=site]
	@$(BIN)/speedrun report $(BOARD) $(if $(SITE),--out $(SITE))

test: setup runtime unit ## every test; needs a container runtime and the package registries
	@$(BIN)/python -m pytest tests/integration --numprocesses 2 --dist loadfile --durations 10 $(TESTFLAGS)

unit: setup ## the tests that need no container and no network; OFFLINE=1, as root, takes the network away
	@$(if $(OFFLINE),$(LOOPBACK)) $(BIN)/python -m pytest tests/unit --numprocesses auto --durations 10 $(TESTFLAGS)

coverage: setup ## run the unit tests with branch coverage; print the total and files below 85 %
	@$(BIN)/python -m pytest tests/unit --numprocesses auto --cov --cov-report= $(TESTFLAGS)
	@$(BIN)/python -m coverage report | awk '$$NF + 0 < 85 || $$1 == "TOTAL"'

hostile: setup runtime ## run every attack in runc and Docker, and write the threat model: [RUNTIME=runc]
	@$(ASSETS) $(BIN)/python tests/hostile --record $(if $(RUNTIME),--runtime $(RUNTIME))

crash: setup runtime ## kill the kit at every stage, break its disks and engines, and write the table: [RUNTIME=runc]
	@$(ASSETS) $(BIN)/python tests/crash --record $(if $(RUNTIME),--runtime $(RUNTIME))

bench: setup ## measure the claims about speed: [ERA=torch-2.5.1] [IMAGES="assemble build load run disk"]
	@$(BIN)/python benchmarks/bootstrap.py
	@$(BIN)/python benchmarks/board.py
	@$(BIN)/python benchmarks/images.py --era $(or $(ERA),torch-2.5.1) $(IMAGES)

lint: setup ## format check, lint, types, import contract, docstrings
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/codespell && $(BIN)/mypy && $(BIN)/lint-imports --no-cache && $(BIN)/interrogate -q kit

format: setup ## format the code
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

reference: setup ## write docs/reference/cli.md from the help texts
	@$(BIN)/python docs/reference/write_cli.py

constraints: setup ## update constraints.txt from the installed versions
	@{ echo "# Exact versions of the development environment; renew with: make constraints"; \
	  $(BIN)/python -m pip freeze --exclude-editable; } > constraints.txt
