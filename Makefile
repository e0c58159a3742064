# `make demo` runs the demo of the workflow, and `make test` runs all tests. Both first install the locked packages of
# envs/main.txt in .venv, if they are not installed yet.

SHELL := /bin/bash
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: demo gemma test check docs report bleurt comet lock clean distclean

demo: $(VENV)/.installed
	snakemake --cores all

# The demo with a pretrained multilingual model; for its licence, see docs/base-models.md.
gemma: $(VENV)/.installed
	snakemake --cores all --configfile configs/gemma3-270m.yaml

test: $(VENV)/.installed .venv-bleurt/.installed
	pytest

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

# Snakemake's own report of the last run; CONFIG names the overlays of that run, if it had any.
CONFIG :=
report: $(VENV)/.installed
	snakemake --report results/report.zip $(if $(CONFIG),--configfile $(CONFIG))

$(VENV)/.installed: envs/main.txt
	python3 -m venv $(VENV)
	pip install --quiet --disable-pip-version-check --requirement envs/main.txt
	touch $@

# Environments of the learned metrics, whose libraries need other versions than the workflow.
bleurt comet: %: .venv-%/.installed

.venv-%/.installed: envs/%.txt
	python3 -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

# Resolve the requirements in envs/*.in again, in a temporary environment, and write the pip lock and the conda file.
lock:
	for name in main bleurt comet; do \
		python3 -m venv --clear .cache/lock && \
		.cache/lock/bin/pip install --quiet --requirement envs/$$name.in && \
		.cache/lock/bin/pip list --format freeze --exclude pip | sed 's/+cpu//' > envs/$$name.txt && \
		python3 envs/conda.py envs/$$name.txt > envs/$$name.yaml || exit 1; \
	done

# Results go, downloads stay.
clean:
	find results -mindepth 1 -maxdepth 1 ! -name download -exec rm -rf {} + 2>/dev/null || true
	find results/download -mindepth 1 -maxdepth 1 ! -name sources -exec rm -rf {} + 2>/dev/null || true
	rm -rf .snakemake

distclean: clean
	rm -rf results
