#!/bin/sh
# Installs the locked environment of the workflow in /opt/lat/.venv, on Debian 12, whose Python is 3.11. Dockerfile and
# lat.def run it after they have copied Makefile and envs/ to /opt/lat.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update
# DeepSpeed compiles a small library on first use.
apt-get install --yes --no-install-recommends ca-certificates g++ git make ninja-build python3-dev python3-venv
make -C /opt/lat .venv/.installed
rm -rf /var/lib/apt/lists/* /root/.cache
