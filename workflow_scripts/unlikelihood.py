"""Stage 2: tune a stage-1 model briefly on instruction-conflicting samples with the unlikelihood loss.

Every sample contributes two losses, computed in one forward pass: the likelihood loss under its own instruction, and
the unlikelihood loss, weighted by alpha, under its conflicting instruction. It is started in the same way as stage 1
(see `finetune.py`).
"""

import argparse

from .lat.runtime import run_step
from .lat.training.hyperparameters import add_training_arguments


def main() -> None:
    """Parse the flags and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_training_arguments(parser)
    parser.add_argument("--alpha", type=float, required=True, help="weight of the unlikelihood loss")
    arguments = parser.parse_args()

    # Imported here, since its libraries take seconds to load, and the check of the flags does without them.
    from .lat.training.run import run_training

    run_training(arguments, arguments.alpha)


if __name__ == "__main__":
    run_step(main)
