"""Print the conda environment file of a pip lock: `python envs/conda.py envs/main.txt > envs/main.yaml`."""

import sys
from pathlib import Path

lock = Path(sys.argv[1])
pins = lock.read_text(encoding="utf-8").split()
print(f"# Made from {lock.name} by `make lock`.")
print("channels: [conda-forge, nodefaults]")
print("dependencies:", "  - python=3.11", "  - pip", "  - pip:", *(f"      - {pin}" for pin in pins), sep="\n")
