"""The training objective of Zan et al. (arXiv 2403.14399): likelihood of the response, unlikelihood under a conflict.

    L     = L_MLE + alpha * L_UL
    L_MLE = mean over response tokens of -log p(token | prompt)
    L_UL  = mean over response tokens of -log(1 - p(token | conflicting prompt))

Both means run over the response tokens (end token included) of the *global* batch. The functions here return values
per token; whoever holds the batch divides their sums by its token counts, so that accumulation and several processes
leave the value unchanged. Everything is computed in fp32 whatever the model's dtype.
"""

import math

import torch
from torch import Tensor

# The published floor of 1 - p: a token the model is certain of costs -log(1e-9) = 20.7 and gets no gradient.
ONE_MINUS_P_FLOOR = 1e-9


def unlikelihood(log_probabilities: Tensor) -> Tensor:
    """-log(1 - p) of each token, 1 - p floored at 1e-9, from log p of any shape.

    Two forms of log(1 - exp(x)) meet at p = 1/2, each exact on its side: expm1 as p -> 1, log1p as p -> 0.
    """
    near_one = log_probabilities > -math.log(2.0)
    # Each form sees only values it is safe for: torch.where passes gradients of both branches, and 0 * inf is NaN.
    high = torch.where(near_one, log_probabilities, -math.log(2.0))
    low = torch.where(near_one, -math.log(2.0), log_probabilities)
    log_one_minus_p = torch.where(
        near_one, torch.log(torch.clamp(-torch.expm1(high), min=ONE_MINUS_P_FLOOR)), torch.log1p(-torch.exp(low))
    )
    return -log_one_minus_p


def token_losses(log_probabilities: Tensor, conflicting: Tensor) -> Tensor:
    """Loss of each response token: -log p, or -log(1 - p) where `conflicting`; all of one shape."""
    return torch.where(conflicting, unlikelihood(log_probabilities), -log_probabilities)
