"""Stage 2 with a preference loss: tune a stage-1 model briefly on pairs of a right and a rejected response.

Both responses stand under the right instruction; the rejected one is in a wrong language. The losses are those of
`lat/training/preferences.py`. It is started in the same way as stage 1 (see `finetune.py`).
"""

import argparse
from typing import get_args

from .lat.runtime import run_step
from .lat.training.hyperparameters import Loss, add_training_arguments, preference_of


def main() -> None:
    """Parse the flags and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_training_arguments(parser)
    parser.add_argument("--loss", choices=get_args(Loss), required=True, help="the preference loss")
    parser.add_argument("--weight", type=float, help="weight of the preference loss; by default the published one")
    parser.add_argument(
        "--likelihood",
        type=float,
        help="weight of the likelihood loss of the chosen responses; by default the published one",
    )
    parser.add_argument("--beta", type=float, default=0.1, help="factor of the log-probabilities of cpo and dpo")
    arguments = parser.parse_args()

    # Imported here, since its libraries take seconds to load, and the check of the flags does without them.
    from .lat.training.run import run_training

    run_training(
        arguments,
        preference=preference_of(arguments.loss, arguments.weight, arguments.likelihood, arguments.beta),
    )


if __name__ == "__main__":
    run_step(main)
