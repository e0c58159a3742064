"""Print the conda environment file of a lock: `python envs/conda.py envs/main.txt > envs/main.yaml`.

The file has the versions of the lock without its hashes, since pip would then demand the hashes of all CUDA libraries.
"""

import re
import sys
from pathlib import Path


def read_pins(lock: Path) -> list[str]:
    """Return the pinned packages of a lock, such as `six==1.17.0`."""
    return re.findall(r"^[^\s#]+==\S+", lock.read_text(encoding="utf-8"), re.MULTILINE)


lock = Path(sys.argv[1])
torch = next(pin for pin in read_pins(lock.with_name("torch.txt")) if pin.startswith("torch=="))
pins = sorted([*read_pins(lock), torch])
print(f"# Made from {lock.name} and torch.txt by `make lock`.")
print("channels: [conda-forge, nodefaults]")
print("dependencies:", "  - python=3.11", "  - pip", "  - pip:", *(f"      - {pin}" for pin in pins), sep="\n")
