# Two commands: `make demo` runs the workflow from nothing to its tables, `make test` runs every test.
# Both set up .venv first, once, from the lock in envs/main.txt.

SHELL := /bin/bash
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: demo gemma test check report bleurt comet lock clean

demo: $(VENV)/.installed
	snakemake --cores all

# The demo's tables with a real multilingual model; see docs/base-models.md for its terms.
gemma: $(VENV)/.installed
	snakemake --cores all --configfile configs/gemma3-270m.yaml

test: $(VENV)/.installed .venv-bleurt/.installed
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
	snakemake --dry-run --quiet all --configfile configs/paper-*.yaml configs/grids/paper.yaml
	snakemake --lint

report: $(VENV)/.installed
	snakemake --report results/report.html

$(VENV)/.installed: envs/main.txt
	python3 -m venv $(VENV)
	pip install --quiet --disable-pip-version-check --requirement envs/main.txt
	touch $@

# Environments of learned metrics, whose libraries want other versions than the workflow's.
bleurt comet: %: .venv-%/.installed

.venv-%/.installed: envs/%.txt
	python3 -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

# Resolve every envs/*.in anew, in a scratch environment, into its pip lock and its conda file.
lock:
	for name in main bleurt comet; do \
		python3 -m venv --clear .cache/lock && \
		.cache/lock/bin/pip install --quiet --requirement envs/$$name.in && \
		.cache/lock/bin/pip list --format freeze --exclude pip | sed 's/+cpu//' > envs/$$name.txt && \
		python3 envs/conda.py envs/$$name.txt > envs/$$name.yaml || exit 1; \
	done

clean:
	rm -rf results .snakemake
