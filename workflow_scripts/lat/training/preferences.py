"""Preference losses: a chosen response shall be more probable than a rejected one under the same prompt.

With S the sum of log p over the tokens of a response (its end token included), n their number, and m = S / n:

    orpo  -log sigmoid(o(chosen) - o(rejected)),                 o = log(P / (1 - P)), P = exp(m)
    cpo   -log sigmoid(beta (S(chosen) - S(rejected)))
    dpo   -log sigmoid(beta ((S - R)(chosen) - (S - R)(rejected))),     R: S of the model before the training

(ORPO: Hong et al., arXiv 2403.07691; CPO: Xu et al., arXiv 2401.08417; DPO: Rafailov et al., arXiv 2305.18290.) The
objective is

    L = likelihood * L_MLE + weight * L_preference

L_MLE is the mean of -log p over the tokens of all chosen responses of the *global* batch, as in `losses.py`, and
L_preference the mean over its pairs. The published weights are those of `PUBLISHED` in `hyperparameters.py`. With a
weight of 0, the chosen responses alone are trained on.
"""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from .hyperparameters import Preference
from .losses import unlikelihood


def pair_losses(sums: Tensor, lengths: Tensor, reference: Tensor, preference: Preference) -> Tensor:
    """Compute the preference loss of every pair.

    Args:
        sums: sums of log p over the tokens of each response, fp32 [2, pairs], the chosen responses first.
        lengths: number of tokens of each response, [2, pairs].
        reference: sums of the model before the training, fp32 [2, pairs]; used by `dpo` only.
        preference: the objective.

    Returns:
        The losses, fp32 [pairs].
    """
    if preference.loss == "orpo":
        means = sums / lengths
        # log(P / (1 - P)); `unlikelihood` is -log(1 - P), with the floor of 1 - P that it has for tokens.
        odds = means + unlikelihood(means)
        return -logsigmoid(odds[0] - odds[1])
    rewards = sums - reference if preference.loss == "dpo" else sums
    return -logsigmoid(preference.beta * (rewards[0] - rewards[1]))


def is_preferred(sums: Tensor, lengths: Tensor, reference: Tensor, preference: Preference) -> Tensor:
    """Tell for every pair whether the chosen response is preferred by what the loss compares, bool [pairs]."""
    compared = sums / lengths if preference.loss == "orpo" else sums
    compared = sums - reference if preference.loss == "dpo" else compared
    return torch.gt(compared[0], compared[1])
