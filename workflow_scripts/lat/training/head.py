"""The language-model head and both losses in one pass over slices of tokens, gradients included.

A head's logits are the largest tensor of a training step: tokens x vocabulary, and plain autograd holds several copies
of it until the backward pass. Here a slice of tokens at a time goes through the head, its loss and the gradient of its
loss, while its logits exist; what stays for the backward pass has the size of the hidden states and of the weight.
Nothing is computed twice. The same idea serves cross-entropy alone in Liger Kernel (Hsu et al., arXiv 2410.10989).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers import PreTrainedModel

from ..files import InputError
from .losses import token_losses

# Logits of a slice, in values: large enough to keep the matrix products busy, small enough not to show in the peak.
SLICE_VALUES = {"cpu": 2**23, "cuda": 2**27}


class HeadLoss(nn.Module):
    """Losses of response tokens from the hidden states that predict them.

    It holds the head's own weight, as a module of its own, so that ZeRO-3 gathers the weight when it is called.

    Args:
        model: a causal language model whose head is one matrix, maybe followed by soft-capping.

    Raises:
        InputError: the model computes its logits in another way.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.weight: nn.Parameter = model.get_output_embeddings().weight
        self.cap: float | None = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
        self._compare_with(model)

    def forward(self, hidden: Tensor, tokens: Tensor, conflicting: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
        """Sum of the losses, conflicting tokens weighted by alpha, and the loss of each token.

        Args:
            hidden: [tokens, hidden], of any dtype.
            tokens: [tokens], int64, the tokens the hidden states should predict.
            conflicting: [tokens], bool, where unlikelihood is wanted in place of likelihood.
            alpha: weight of the unlikelihood loss.

        Returns:
            An fp32 scalar, which has a gradient, and fp32 [tokens], which has none.
        """
        return _SlicedHeadLoss.apply(hidden, self.weight, tokens, conflicting, alpha, self.cap)

    def _compare_with(self, model: PreTrainedModel) -> None:
        """A scale or bias this module does not know of would train another model than the one that is decoded."""
        if self.weight.is_meta or not self.weight.numel():
            return  # already divided among processes; each process has compared before
        with torch.no_grad():
            ids = torch.arange(3, 7, device=self.weight.device)[None]
            expected = model(input_ids=ids, use_cache=False).logits[0].float()
            found = _logits(
                model.base_model(input_ids=ids, use_cache=False).last_hidden_state[0], self.weight, self.cap
            )
        tolerance = 1e-3 if self.weight.dtype == torch.float32 else 0.05
        if not torch.allclose(found, expected, rtol=tolerance, atol=tolerance * expected.abs().max().item()):
            raise InputError(
                f"{model.config.model_type}: its logits are more than a matrix product and a soft cap, which is all "
                "training supports; choose another base model"
            )


def _logits(hidden: Tensor, weight: Tensor, cap: float | None) -> Tensor:
    logits = (hidden @ weight.t()).float()
    return logits.div_(cap).tanh_().mul_(cap) if cap else logits


class _SlicedHeadLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        tokens: Tensor,
        conflicting: Tensor,
        alpha: float,
        cap: float | None,
    ) -> tuple[Tensor, Tensor]:
        hidden_wanted, weight_wanted = ctx.needs_input_grad[:2]
        weights = torch.where(conflicting, alpha, 1.0)
        losses = torch.empty(len(tokens), dtype=torch.float32, device=hidden.device)
        hidden_gradient = torch.empty_like(hidden) if hidden_wanted else None
        # fp32 whatever the dtype: a sum over slices in bf16 would lose what the slices add.
        weight_gradient = torch.zeros_like(weight, dtype=torch.float32) if weight_wanted else None
        step = max(1, SLICE_VALUES.get(hidden.device.type, 2**23) // len(weight))
        for start in range(0, len(tokens), step):
            part = slice(start, start + step)
            logits = _logits(hidden[part], weight, cap)
            targets = tokens[part, None]
            chosen = logits.gather(-1, targets)
            # From here on, what costs tokens x vocabulary happens in place.
            slope_of_cap = 1 - (logits / cap).square() if cap else None
            largest = logits.amax(-1, keepdim=True)
            total = logits.sub_(largest).exp_().sum(-1, keepdim=True)
            log_p = (chosen - largest - total.log()).squeeze(-1)
            with torch.enable_grad():
                log_p.requires_grad_()
                losses_here = token_losses(log_p, conflicting[part])
                (slope,) = torch.autograd.grad(losses_here.sum(), log_p)
            losses[part] = losses_here.detach()
            if hidden_gradient is None and weight_gradient is None:
                continue
            # d log p(token) / d logits = onehot(token) - softmax
            slope = (slope * weights[part])[:, None]
            gradient = logits.mul_(-slope / total).scatter_add_(-1, targets, slope)
            if slope_of_cap is not None:
                gradient.mul_(slope_of_cap)
            gradient = gradient.to(weight.dtype)
            if hidden_gradient is not None:
                hidden_gradient[part] = gradient @ weight
            if weight_gradient is not None and weight.dtype == torch.float32:
                weight_gradient.addmm_(gradient.t(), hidden[part])
            elif weight_gradient is not None:
                weight_gradient += gradient.t() @ hidden[part]
        ctx.gradients = hidden_gradient, weight_gradient
        ctx.weight_dtype = weight.dtype
        ctx.mark_non_differentiable(losses)
        return (losses * weights).sum(), losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        hidden_gradient, weight_gradient = ctx.gradients
        del ctx.gradients  # so that autograd may keep the weight's gradient instead of copying it
        if hidden_gradient is not None:
            hidden_gradient = hidden_gradient.mul_(scale)
        if weight_gradient is not None:
            weight_gradient = weight_gradient.mul_(scale).to(ctx.weight_dtype)
        return hidden_gradient, weight_gradient, None, None, None, None
