"""Convert a model to the format of CTranslate2, once for all systems that decode with it."""

import argparse
from pathlib import Path

from .lat.files import replaced_folder
from .lat.manifest import write_manifest
from .lat.runtime import log, run_step

# Largest accepted difference of a log-probability, relative to their standard deviation. Both libraries compute in fp32
# and agree to about 1e-5.
TOLERANCE = 1e-3


def main() -> None:
    """Parse the flags, convert the model and compare it; the output folder appears only when it is complete."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="folder of a transformers model")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()

    # Imported here, since these libraries take seconds to load, and the check of the flags does without them.
    from .lat.decoding.conversion import convert_model
    from .lat.models import load_tokenizer

    with replaced_folder(arguments.output) as partial:
        tokenizer = load_tokenizer(arguments.model)
        difference = convert_model(arguments.model, partial, tokenizer, TOLERANCE, "set `engine: transformers`")
        write_manifest(partial)
    size = sum(path.stat().st_size for path in arguments.output.iterdir()) / 1e6
    log.info(
        "%s: %.0f MB, log-probabilities within %.1g standard deviations of transformers",
        arguments.output,
        size,
        difference,
    )


if __name__ == "__main__":
    run_step(main)
