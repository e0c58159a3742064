# Two commands: `make demo` runs the workflow from nothing to its tables, `make test` runs every test.
# Both set up .venv first, once, from the lock in envs/main.txt.

SHELL := /bin/bash
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: demo test check report lock clean

demo: $(VENV)/.installed
	snakemake --cores all

test: $(VENV)/.installed
	pytest

# Format, types, and a dry-run of every configuration.
check: $(VENV)/.installed
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile rules
	mypy
	for config in config.yaml configs/*.yaml; do \
		echo "dry-run of $$config"; snakemake --dry-run --quiet all --configfile $$config || exit 1; \
	done
	snakemake --lint

report: $(VENV)/.installed
	snakemake --report results/report.html

$(VENV)/.installed: envs/main.txt
	python3 -m venv $(VENV)
	pip install --quiet --disable-pip-version-check --requirement envs/main.txt
	touch $@

# Resolve envs/main.in anew, in a scratch environment, into the pip lock and the conda file.
lock:
	python3 -m venv --clear .cache/lock
	.cache/lock/bin/pip install --quiet --requirement envs/main.in
	.cache/lock/bin/pip list --format freeze --exclude pip | sed 's/+cpu//' > envs/main.txt
	python3 envs/conda.py envs/main.txt > envs/main.yaml

clean:
	rm -rf results .snakemake
