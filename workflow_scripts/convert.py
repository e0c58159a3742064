"""Convert a model to the format of CTranslate2, once for all systems that decode with it."""

import argparse
from pathlib import Path

from ctranslate2.converters import TransformersConverter

from .lat.files import replaced_folder
from .lat.runtime import log, run_step


def main() -> None:
    """Parse the flags and convert the model; the output folder appears only when it is complete."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="folder of a transformers model")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()

    with replaced_folder(arguments.output) as partial:
        TransformersConverter(str(arguments.model), low_cpu_mem_usage=True).convert(str(partial), force=True)
    log.info("%s: %.0f MB", arguments.output, sum(path.stat().st_size for path in arguments.output.iterdir()) / 1e6)


if __name__ == "__main__":
    run_step(main)
