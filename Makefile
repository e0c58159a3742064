# `make demo` runs the demo of the workflow, and `make test` runs all tests. Both first install the locked packages of
# envs/main.txt in .venv, if they are not installed yet.

SHELL := /bin/bash
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: demo gemma test check report bleurt comet lock clean

demo: $(VENV)/.installed
	snakemake --cores all

# The demo with a pretrained multilingual model; for its licence, see docs/base-models.md.
gemma: $(VENV)/.installed
	snakemake --cores all --configfile configs/gemma3-270m.yaml

test: $(VENV)/.installed .venv-bleurt/.installed
	pytest

# Formatting, lint and types, and a dry-run of every configuration.
check: $(VENV)/.installed
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile rules
	mypy
	for config in config.yaml configs/*.yaml; do \
		echo "dry-run of $$config"; snakemake --dry-run --quiet all --configfile $$config || exit 1; \
	done
	snakemake --dry-run --quiet all --configfile configs/paper-*.yaml configs/grids/paper.yaml
	snakemake --lint

report: $(VENV)/.installed
	snakemake --report results/report.html

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

clean:
	rm -rf results .snakemake
