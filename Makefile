# `make demo` runs the demo of the workflow, `make tiny` the same with a model that is trained from nothing, and `make
# test` the tests; those on Slurm are in `make test-slurm`. All first install the locked packages of envs/main.txt in
# .venv, if they are not installed yet.

SHELL := /bin/bash
VENV := .venv
# The interpreter of the virtual environments, which must be Python 3.11, such as `make demo PYTHON=python3.11`.
PYTHON ?= python3
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: demo tiny test test-parts test-runs test-slurm campaign check docs readme report publish bleurt comet trl vllm lock clean distclean

# The demo, with Gemma 3 270M. Its terms are the user's to accept, which this target says and does.
GEMMA := LicenseRef-Gemma
demo: $(VENV)/.installed
	@echo "Gemma is provided under and subject to the Gemma Terms of Use, https://ai.google.dev/gemma/terms: make demo accepts them."
	@python -m workflow_scripts.lat.progress --cores all --config 'accept_licences=[$(GEMMA)]'

# The demo with a small model that is trained from nothing: no terms to accept, and no weights to download.
tiny: $(VENV)/.installed
	@python -m workflow_scripts.lat.progress --cores all --configfile configs/tiny.yaml

# The tests run in two processes side by side, each with about half of the time, the installation of further
# environments included; each is run to its end if the other fails. A library with two threads in each would be several
# times slower on two cores.
test: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(MAKE) --jobs=2 --keep-going --no-print-directory test-runs test-parts

# The tests that share a finished run of the workflow, which takes minutes; and all others.
RUNS := $(patsubst %,tests/workflow/test_%.py,campaign general generic_profile launched_training publish shards workflow)
test-runs: $(VENV)/.installed
	pytest $(RUNS)

test-parts: $(VENV)/.installed .venv-bleurt/.installed .venv-vllm/.installed
	pytest tests/unit tests/workflow $(RUNS:%=--ignore=%)

# Tests on a real Slurm of two nodes, which they start on this machine; skipped where that is not possible.
test-slurm: $(VENV)/.installed
	pytest -rs tests/slurm

# Kills at random moments, full disks and damaged files; KILLS is the number of kills of one run. The seed is printed.
KILLS := 20
campaign: $(VENV)/.installed
	LAT_CAMPAIGN_KILLS=$(KILLS) LAT_CAMPAIGN_SEED=$${LAT_CAMPAIGN_SEED:-$$RANDOM} pytest -s tests/workflow/test_campaign.py

# Formatting and types, and a dry-run of every configuration. Snakemake's lint is one of the unit tests.
check: $(VENV)/.installed
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile rules
	mypy
	for config in config.yaml configs/*.yaml; do \
		echo "dry-run of $$config"; snakemake --dry-run --quiet all --configfile $$config || exit 1; \
	done
	snakemake --dry-run --quiet all --configfile configs/paper-*.yaml configs/grids/paper.yaml

# The reference of the config keys.
docs: $(VENV)/.installed
	python rules/schemas/describe.py > docs/config.md

# The table and the figure of README.md, from the demo with more seeds.
readme: $(VENV)/.installed
	python -m workflow_scripts.lat.progress --cores all --config 'accept_licences=[$(GEMMA)]' 'seeds=[1, 2, 3, 4, 5]'
	cp results/tables/{summary,intervals,comparisons,versions}.tsv results/figures/off_target.png docs/demo/
	python -m workflow_scripts.lat.reporting.readme --tables docs/demo --readme README.md

# Snakemake's own report of the last run; CONFIG names the overlays of that run, if it had any.
CONFIG :=
report: $(VENV)/.installed
	snakemake --report results/report.zip $(if $(CONFIG),--configfile $(CONFIG))

# Packages are installed only from files whose hashes are in the locks, and into an empty environment, because pip does
# not check what is installed already. The locks are complete, so pip adds no dependencies. Packages without a wheel are
# built with the setuptools of build.txt, and before torch is there, because the build of DeepSpeed depends on it.
#
# PyPI has one build of torch, with CUDA. pip prefers another build, such as 2.13.0+cpu, if an index or a folder of its
# configuration has one; that build is trusted like the configuration, since its hash is in no lock.
PIP_OPTIONS := --quiet --disable-pip-version-check
LOCKED := --no-deps --no-build-isolation --require-hashes
define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
		{ echo "$(PYTHON) is not Python 3.11; name one that is, such as: make PYTHON=python3.11 $(or $(MAKECMDGOALS),demo)"; exit 1; }
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/pip install $(PIP_OPTIONS) $(LOCKED) --requirement envs/build.txt
	$(@D)/bin/pip install $(PIP_OPTIONS) $(LOCKED) --requirement $<
	$(@D)/bin/pip download $(PIP_OPTIONS) --no-deps --dest $(@D)/torch --requirement envs/torch.in
	if other=$$(ls $(@D)/torch/*+*.whl 2> /dev/null); then \
		echo "$${other##*/} is not from PyPI: its hash is not checked"; \
		$(@D)/bin/pip install $(PIP_OPTIONS) $$other; \
	else \
		$(@D)/bin/pip install $(PIP_OPTIONS) $(LOCKED) --requirement envs/torch.txt; \
	fi
	rm -r $(@D)/torch
	$(or $(CHECK),$(@D)/bin/pip check)
	touch $@
endef

$(VENV)/.installed: envs/main.txt envs/build.txt envs/torch.txt
	$(install)

# Environments of the learned metrics, whose libraries need other versions than the workflow, and of TRL, with which
# timing/peers.py compares training.
bleurt comet trl: %: .venv-%/.installed

# A package may import what it does not ask for.
.venv-bleurt/.installed: CHECK = $(@D)/bin/pip check && $(@D)/bin/python -c 'import bleurt_pytorch'
.venv-comet/.installed: CHECK = $(@D)/bin/pip check && $(@D)/bin/python -c 'import comet'
.venv-trl/.installed: CHECK = $(@D)/bin/pip check && $(@D)/bin/python -c 'import trl'

.venv-%/.installed: envs/%.txt envs/build.txt envs/torch.txt
	$(install)

# vLLM for the machine where `make` runs. The lock for CPUs lacks three packages that vLLM asks for and does not need for
# text, and its torch may be another build, see envs/vllm.in and envs/lock.py.
vllm: .venv-vllm/.installed

ifeq ($(shell nvidia-smi --list-gpus 2> /dev/null),)
.venv-vllm/.installed: CHECK = ! $(@D)/bin/pip check | grep --invert-match --extended-regexp ' (torchvision|torchaudio|torchcodec|triton), which is not installed| requirement torch==2.13.0\+cpu'
.venv-vllm/.installed: envs/vllm.txt envs/build.txt envs/torch.txt
	$(install)
else
.venv-vllm/.installed: envs/vllm-gpu.txt
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/pip install $(PIP_OPTIONS) $(LOCKED) --requirement $<
	touch $@
endif

# Resolve the requirements in envs/*.in again, to the newest versions, and write the pip locks and the conda files.
lock:
	$(PYTHON) -m venv --clear .cache/lock
	.cache/lock/bin/pip install $(PIP_OPTIONS) $(LOCKED) --requirement envs/uv.txt
	.cache/lock/bin/python envs/lock.py
	for name in main bleurt comet; do $(PYTHON) envs/conda.py envs/$$name.txt > envs/$$name.yaml || exit 1; done

# A trained model of the last run as a folder for others, see docs/publishing.md: `make publish MODEL=lat`, with CONFIG as
# for `make report`. PUSH=1 uploads it to REPOSITORY on the Hugging Face Hub. What is not given here stands in the config.
MODEL :=
SEED :=
LICENCE :=
LICENCE_TEXT :=
REPOSITORY :=
PUSH :=
comma := ,
key = $(if $(2),$(1): $(2)$(comma) )
KEYS = $(call key,model,$(MODEL))$(call key,seed,$(SEED))$(call key,licence,$(LICENCE))$(call key,licence_text,$(LICENCE_TEXT))$(call key,repository,$(REPOSITORY))$(if $(filter 1,$(PUSH)),push: true)
publish: $(VENV)/.installed
	snakemake publish --cores all $(if $(CONFIG),--configfile $(CONFIG)) $(if $(KEYS),--config 'publish={$(KEYS)}')

# Delete the results, except for downloads (sources, corpora), base models (also built ones), and the replies of servers
# (the judge, metrics and systems with `server`), which were paid for.
clean:
	find results -mindepth 1 -maxdepth 1 ! -name download ! -name base_model ! -name judge ! -name decode ! -name score -exec rm -rf {} + 2>/dev/null || true
	find results/download -mindepth 1 -maxdepth 1 ! -name sources ! -name corpora -exec rm -rf {} + 2>/dev/null || true
	find results/judge results/decode results/score -mindepth 1 -maxdepth 1 ! -name .journal -exec rm -rf {} + 2>/dev/null || true
	rm -rf .snakemake

distclean: clean
	rm -rf results
