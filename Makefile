# Every target is one command. `make` without a target prints the list.
PYTHON  ?= python3
VENV    ?= .venv
BIN     := $(VENV)/bin
BLANK   := $() $()
INSTALLED := $(subst $(BLANK),\ ,$(VENV))/.installed
PROFILE ?= full
ASSETS  := PYTHONPATH=tests/assets
LOOPBACK := unshare --net sh -c 'ip link set lo up && exec "$$@"' sh
RUNC    := apt-get install -y --no-install-recommends runc
# $(call q,TEXT): TEXT as one word of the shell, with ~/ at its start expanded.
# $(call opt,--flag,TEXT): a flag with a value; nothing if the value is empty.
quoted   = '$(subst ','\'',$(1))'
q        = $(if $(filter ~/%,$(firstword $(1))),"$$HOME"$(call quoted,$(subst ::~/,/,::$(1))),$(call quoted,$(1)))
opt      = $(if $(2),$(1) $(call q,$(2)))
SPEEDRUN = $(call q,$(BIN)/speedrun)
PY       = $(call q,$(BIN)/python)
EVAL     = $(SPEEDRUN) eval $(call opt,--record,$(RECORD)) $(call opt,--profile,$(PROFILE)) \
  $(call opt,--submission,$(SUBMISSION)) $(call opt,--runtime,$(RUNTIME)) $(call opt,--image,$(IMAGE)) \
  $(call opt,--gpus,$(GPUS)) $(call opt,--out,$(OUT)) $(EVALFLAGS)
# make itself exits with 2 whenever a command fails, so the code of speedrun is printed.
SAY_CODE = || { code=$$?; echo "speedrun exited with code $$code (docs/reference/exit-codes.md)" >&2; exit $$code; }

# Settings of the user's pip that would install to another place than $(VENV), or not at all.
OWN_PIP = $(addprefix -u PIP_,USER TARGET PREFIX ROOT REQUIRE_HASHES DRY_RUN NO_DEPS QUIET LOG)

.DEFAULT_GOAL := help
.PHONY: help setup runtime eval plan doctor image verify test unit test-model test-ecosystem coverage hostile crash bench lint format docs licences reference constraints reproduce pack submit report agent

need-%:
	@[ -n $(call q,$($*)) ] || { printf "error: %s=... is missing\nhint: make help\n" "$*" >&2; exit 2; }

help: ## list the targets
	@echo "usage: make TARGET [NAME=value ...]"
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## create the virtual environment in .venv

$(INSTALLED): pyproject.toml constraints.txt
	@$(call q,$(PYTHON)) -m venv $(call q,$(VENV)) || { printf "error: the Python module venv is missing\nhint: as root: apt-get install -y python3-venv\n" >&2; exit 3; }
	@env $(OWN_PIP) $(PY) -m pip install --no-user --disable-pip-version-check --editable '.[dev]' --constraint constraints.txt >&2
	@touch $(call q,$@)

runtime: ## check for a container runtime; with INSTALL=1, install runc if there is none
	@PATH="$$PATH:/usr/sbin:/sbin"; { [ $(call q,$(RUNTIME)) = podman ] || command -v runc || [ -S /run/docker.sock ] || [ -n "$$DOCKER_HOST" ]; } >/dev/null && exit 0; \
	if [ $(call q,$(INSTALL)) = 1 ] && [ "$$(id -u)" = 0 ]; then { apt-get update -qq && $(RUNC); } >&2; \
	else printf "error: no container runtime found\nhint: as root: $(RUNC); or pass INSTALL=1\n" >&2; exit 3; fi

eval: need-RECORD setup runtime ## run a submission and sign the result: RECORD=3 [PROFILE=smoke] [SUBMISSION=DIR] [RUNTIME=] [IMAGE=] [GPUS=] [OUT=]
	@$(EVAL) $(SAY_CODE)

plan: need-RECORD setup ## print what `make eval` would do: RECORD=3 [PROFILE=smoke] [...]
	@$(EVAL) --plan $(SAY_CODE)

agent: need-TASK setup runtime ## search with scripted answers or a model: TASK=smoke-1 [MODEL=scripted] [SCAFFOLD=aide] [NODES=5] [HINTS=] [BUDGET=] [RUNTIME=] [OUT=]
	@$(SPEEDRUN) agent run --task $(call q,$(TASK)) --model $(call q,$(or $(MODEL),scripted)) --nodes $(call q,$(or $(NODES),5)) \
	  $(call opt,--scaffold,$(SCAFFOLD)) $(call opt,--hints,$(HINTS)) $(call opt,--budget,$(BUDGET)) \
	  $(call opt,--runtime,$(RUNTIME)) $(call opt,--out,$(OUT)) $(AGENTFLAGS) $(SAY_CODE)

doctor: setup ## check that this machine can run evaluations
	@$(SPEEDRUN) doctor $(SAY_CODE)

image: need-ERA setup ## rebuild an image and check its committed digests: ERA=cpu
	@$(SPEEDRUN) image verify $(call q,$(ERA)) $(SAY_CODE)

verify: need-BUNDLE setup ## verify a signed result: BUNDLE=runs/<run_id>
	@$(SPEEDRUN) bundle verify $(call q,$(BUNDLE)) $(SAY_CODE)

reproduce: need-BUNDLE setup runtime ## rerun a signed result and compare: BUNDLE=runs/<run_id> or a capsule [RUNTIME=] [OUT=]
	@$(SPEEDRUN) reproduce $(call q,$(BUNDLE)) $(call opt,--runtime,$(RUNTIME)) $(call opt,--out,$(OUT)) $(EVALFLAGS) $(SAY_CODE)

pack: need-BUNDLE setup ## pack a run into one archive for an offline rerun: BUNDLE=runs/<run_id> [FILE=]
	@$(SPEEDRUN) pack $(call q,$(BUNDLE)) $(call opt,--out,$(FILE)) $(SAY_CODE)

submit: need-BUNDLE need-AGENT need-TO setup ## prepare a leaderboard submission: BUNDLE=runs/<run_id> AGENT=name TO=DIR or hf://owner/name
	@$(SPEEDRUN) submit $(call q,$(BUNDLE)) $(call opt,--agent,$(AGENT)) $(call opt,--to,$(TO)) $(SAY_CODE)

report: need-BOARD setup ## build a leaderboard page: BOARD=DIR [SITE=site]
	@$(SPEEDRUN) report $(call q,$(BOARD)) $(call opt,--out,$(SITE)) $(SAY_CODE)

test: setup runtime unit ## every test; needs a container runtime and the package registries
	@$(PY) -m pytest tests/integration --numprocesses 2 --dist loadfile --durations 10 $(TESTFLAGS)

unit: setup ## the tests that need no container and no network; OFFLINE=1, as root, takes the network away
	@$(if $(OFFLINE),$(LOOPBACK)) $(PY) -m pytest tests/unit --numprocesses auto --durations 10 $(TESTFLAGS)

test-model: setup ## call a small real model behind a third party's server; INSTALL=1 installs both (2 GB)
	@$(PY) tests/model/prepare.py $(if $(filter 1,$(INSTALL)),--install) >&2
	@KIT_SMALL_MODEL=1 $(PY) -m pytest tests/model -n 0 -m model --durations 5 $(TESTFLAGS)

test-ecosystem: setup ## test against other projects' packages (Inspect, trackio, axe, twine, ...), in their own environments
	@KIT_ECOSYSTEM=1 $(PY) -m pytest tests/integration -n 0 -m ecosystem --durations 5 $(TESTFLAGS)

coverage: setup ## run the unit tests with branch coverage; print the total and files below 85 %
	@$(PY) -m pytest tests/unit --numprocesses auto --cov --cov-report= $(TESTFLAGS)
	@$(PY) -m coverage report | awk '$$NF + 0 < 85 || $$1 == "TOTAL"'

hostile: setup runtime ## run every attack in runc and Docker, and write the threat model: [RUNTIME=runc]
	@$(ASSETS) $(PY) tests/hostile --record $(call opt,--runtime,$(RUNTIME))

crash: setup runtime ## kill the kit at every stage, break its disks and engines, and write the table: [RUNTIME=runc]
	@$(ASSETS) $(PY) tests/crash --record $(call opt,--runtime,$(RUNTIME))

bench: setup ## measure the claims about speed: [ERA=torch-2.5.1] [KIT_TORCH_PYTHON=] [EVALUATIONS="--runtime docker"] [IMAGES="assemble build load run disk"]
	@$(PY) benchmarks/bootstrap.py
	@$(PY) benchmarks/board.py
	@$(PY) benchmarks/sweeps.py
	@$(PY) benchmarks/evaluations.py $(EVALUATIONS)
	@$(if $(KIT_TORCH_PYTHON),$(PY) benchmarks/smoke.py --python $(call q,$(KIT_TORCH_PYTHON)),echo "smoke tasks: not measured; name an interpreter that has torch in KIT_TORCH_PYTHON" >&2)
	@$(PY) benchmarks/images.py --era $(call q,$(or $(ERA),torch-2.5.1)) $(IMAGES)

lint: setup ## format check, lint, types, import contract, docstrings
	@$(call q,$(BIN)/ruff) format --check . && $(call q,$(BIN)/ruff) check . && $(call q,$(BIN)/codespell) && $(call q,$(BIN)/mypy) && $(call q,$(BIN)/lint-imports) --no-cache && $(call q,$(BIN)/interrogate) -q kit

format: setup ## format the code
	@$(call q,$(BIN)/ruff) format . && $(call q,$(BIN)/ruff) check --fix .

licences: setup ## list the licence of every installed package that the kit and its extras need
	@$(PY) docs/reference/list_licences.py

docs: setup ## build the documentation site in build/docs; a broken link or anchor is an error
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict >&2 && echo build/docs/index.html

reference: setup ## write docs/reference/cli.md from the help texts
	@$(PY) docs/reference/write_cli.py

constraints: setup ## update constraints.txt from the installed versions
	@{ echo "# Exact versions of the development environment; renew with Debian 12's Python 3.11.2: make constraints"; \
	  $(PY) -m pip freeze --exclude-editable; } > constraints.txt
