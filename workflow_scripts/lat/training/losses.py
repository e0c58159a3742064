"""The training objective of Zan et al. (arXiv 2403.14399): likelihood of responses, unlikelihood under a conflict.

    L     = L_MLE + alpha * L_UL
    L_MLE = mean over response tokens of -log p(token | prompt)
    L_UL  = mean over response tokens of -log(1 - p(token | conflicting prompt))

Both means are taken over the response tokens (end tokens included) of the *global* batch. The functions of this module
return one value per token; the training loop divides the sums by the number of response tokens, so that gradient
accumulation and the number of processes do not change the value. Everything is computed in fp32, whatever the dtype of
the model.

The objective is computed in several files. Alpha is set in the config (`unlikelihood.alpha`); a benchmark, a base model
and a model can override it. `rules/unlikelihood.smk` passes it as the flag `--alpha` to
`workflow_scripts/unlikelihood.py`, which calls `run_training` (`run.py` in this package), which stores it in
`Hyperparameters`. `loop.py` passes alpha to `ResponseLoss` (`modelling.py`), which runs the model and selects the
hidden states that predict response tokens. `HeadLoss` (`head.py`) computes log p of these tokens, gets their losses
from `token_losses` in this module, multiplies the losses of conflicting tokens by alpha and returns the sum. Finally,
`loop.py` divides the sum by the number of response tokens of the global batch.
"""

import math

import torch
from torch import Tensor

# The published floor of 1 - p: a token with p = 1 has the loss -log(1e-9) = 20.7 and no gradient.
ONE_MINUS_P_FLOOR = 1e-9


def unlikelihood(log_probabilities: Tensor) -> Tensor:
    """Compute the unlikelihood loss -log(1 - p) of each token, with 1 - p floored at 1e-9.

    log(1 - exp(x)) is computed in two forms, which meet at p = 1/2. Each is accurate on one side: the form with expm1
    for p -> 1, the form with log1p for p -> 0.

    Args:
        log_probabilities: log p of the tokens, any shape.

    Returns:
        The losses, in the shape of `log_probabilities`.
    """
    near_one = log_probabilities > -math.log(2.0)
    # Each form gets only values for which its gradient is finite: torch.where multiplies the gradient of the branch
    # that is not chosen by 0, and 0 * inf is NaN.
    high = torch.where(near_one, log_probabilities, -math.log(2.0))
    low = torch.where(near_one, -math.log(2.0), log_probabilities)
    log_one_minus_p = torch.where(
        near_one, torch.log(torch.clamp(-torch.expm1(high), min=ONE_MINUS_P_FLOOR)), torch.log1p(-torch.exp(low))
    )
    return -log_one_minus_p


def token_losses(log_probabilities: Tensor, conflicting: Tensor) -> Tensor:
    """Compute the loss of each response token: -log(1 - p) for conflicting tokens, -log p for the others.

    Args:
        log_probabilities: log p of the tokens, any shape.
        conflicting: True for the tokens of conflicting sequences, bool, same shape.

    Returns:
        The losses, same shape.
    """
    return torch.where(conflicting, unlikelihood(log_probabilities), -log_probabilities)
