"""Resolve the requirements in envs/*.in with uv and write the locks envs/*.txt; `make lock` runs this.

A lock pins all packages, the indirect ones too, with the SHA-256 of each of their files on PyPI, for every platform.
"""

import re
import subprocess
import sys
from pathlib import Path

# torch and the CUDA libraries that its build on PyPI needs. Only torch.txt has them, because other builds, such as the
# one for CPUs, need other libraries or none.
TORCH = re.compile(r"(torch|triton|(cuda|nvidia)-.+)==")
# vLLM requires these for inputs other than text. Their builds on PyPI are for other versions of torch, so that nothing
# that imports them works, and vLLM runs without them.
UNUSED = ("torchaudio", "torchcodec", "torchvision")
# Environments with a torch of their own, which is in their lock.
OWN_TORCH = ("vllm-gpu",)


def resolve(requirements: Path) -> list[str]:
    """Return one entry per package, in alphabetical order: the line with its version, and the lines with its hashes.

    Raises:
        SystemExit: uv could not resolve the requirements; it says why.
    """
    options = "--quiet --no-config --generate-hashes --no-header --no-annotate --python-version=3.11"
    command = [Path(sys.executable).with_name("uv"), "pip", "compile", *options.split(), "--python-platform=linux"]
    if requirements.stem not in OWN_TORCH:
        command += [f"--override={requirements.with_name('torch.in')}"]
        command += [f"--no-emit-package={name}" for name in UNUSED]
    compiled = subprocess.run([*command, f"--python={sys.executable}", requirements], stdout=subprocess.PIPE, text=True)
    if compiled.returncode:
        sys.exit(f"{requirements}: could not be resolved; no lock was changed")
    return re.split(r"\n(?=\S)", compiled.stdout.strip())


def main() -> None:
    """Write all locks, after all requirements were resolved."""
    resolved = {path: resolve(path) for path in sorted(Path(__file__).parent.glob("*.in"))}
    for path, packages in resolved.items():
        locked = packages
        if path.stem not in OWN_TORCH:
            locked = [lines for lines in packages if bool(TORCH.match(lines)) == (path.stem == "torch")]
        header = f"# Made from {path.name} by `make lock`."
        path.with_suffix(".txt").write_text("\n".join([header, *locked, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
