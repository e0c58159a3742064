"""Stage 1: fine-tune a base model on translation samples, by maximum likelihood of the response.

A single process runs as `python -m workflow_scripts.finetune --model ...`. With several GPUs, `torchrun` starts one
process per GPU, see `lat/training/launch.py`.
"""

import argparse

from .lat.runtime import run_step
from .lat.training.hyperparameters import add_training_arguments


def main() -> None:
    """Parse the flags and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_training_arguments(parser)
    arguments = parser.parse_args()

    # Imported here, since its libraries take seconds to load, and the check of the flags does without them.
    from .lat.training.run import run_training

    run_training(arguments)


if __name__ == "__main__":
    run_step(main)
