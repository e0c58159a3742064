"""Stage 1: fine-tune a base model on translation samples, by maximum likelihood of the response.

A single process runs as `python -m workflow_scripts.finetune --model ...`. With several GPUs, `torchrun` starts one
process per GPU, see `lat/training/launch.py`.
"""

import argparse

from .lat.runtime import run_step
from .lat.training.hyperparameters import add_training_arguments
from .lat.training.run import run_training


def main() -> None:
    """Parse the flags and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_training_arguments(parser)
    run_training(parser.parse_args())


if __name__ == "__main__":
    run_step(main)
