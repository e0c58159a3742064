"""The language-model head with both losses and their gradients, computed on one slice of tokens after another.

The logits are the largest tensor of a training step (tokens x vocabulary), and plain autograd keeps several copies of
them until the backward pass. Here the logits, the losses and the gradient of the losses are computed for a slice of
tokens at a time, so that only the logits of one slice exist. What is kept for the backward pass has the size of the
hidden states and of the weight. Nothing is computed twice. Liger Kernel (Hsu et al., arXiv 2410.10989) uses the same
idea for cross-entropy alone.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers import PreTrainedModel

from ..files import InputError
from .losses import token_losses

# Number of logits per slice. Each slice reads the weight of the head, and reads and writes its gradient, so that slices
# of few tokens take longer; slices of many tokens would raise the peak memory.
SLICE_VALUES = 2**27


class HeadLoss(nn.Module):
    """Compute the losses of response tokens from the hidden states that predict them.

    The weight of the head is a parameter of this module, so that ZeRO-3 gathers it when the module is called.

    Args:
        model: a Hugging Face causal LM whose head is one matrix product, optionally followed by soft-capping.

    Raises:
        InputError: the model computes its logits in another way.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.weight: nn.Parameter = model.get_output_embeddings().weight
        self.cap: float | None = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
        self._check_logits(model)

    def forward(
        self, hidden: Tensor, tokens: Tensor, conflicting: Tensor, alpha: float, scale: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """Compute the loss of each token, and their sum with the losses of conflicting tokens multiplied by alpha.

        Args:
            hidden: hidden states, [tokens, hidden], any dtype.
            tokens: the response tokens that the hidden states predict, [tokens], int64.
            conflicting: True for the tokens whose loss is unlikelihood instead of likelihood, [tokens], bool.
            alpha: weight of the unlikelihood loss.
            scale: factor of the sum. Here it costs nothing; as a factor of the result, it multiplies all gradients.

        Returns:
            The weighted sum, an fp32 scalar with gradient, and the unweighted losses, fp32 [tokens] without gradient.
        """
        weights = torch.where(conflicting, scale * alpha, scale)
        return _SlicedHeadLoss.apply(hidden, self.weight, tokens, conflicting, weights, self.cap)

    def _check_logits(self, model: PreTrainedModel) -> None:
        """Compare the logits with those of the model.

        With a scale or bias that this module does not apply, another model would be trained than the one that is
        decoded.
        """
        if self.weight.is_meta or not self.weight.numel():
            return  # The weight is already divided among processes, each of which has compared before.
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


class SequenceHead(HeadLoss):
    """Compute a loss of whole responses, which needs log p of all their tokens before the first gradient.

    The slices are therefore computed twice: first log p of all tokens without gradients, from which the caller computes
    the derivative of its loss with respect to each token's -log p; then the gradients of -log p, multiplied by it.
    """

    def forward(  # type: ignore[override]
        self, hidden: Tensor, tokens: Tensor, weigh: Callable[[Tensor], Tensor | None]
    ) -> Tensor:
        """Compute a scalar whose gradient is that of the loss; its value is that of the linearised loss.

        Args:
            hidden: hidden states, [tokens, hidden], any dtype.
            tokens: the response tokens that the hidden states predict, [tokens], int64.
            weigh: is called once with log p of the tokens, fp32 [tokens] without gradient, and returns the derivative
                of the loss with respect to -log p of each token, fp32 [tokens]; None if no gradient is needed.

        Returns:
            sum(derivative * -log p), an fp32 scalar with gradient; zero if no gradient is needed.
        """
        likelihood = torch.zeros(len(tokens), dtype=torch.bool, device=tokens.device)
        ones = torch.ones(len(tokens), device=tokens.device)
        with torch.no_grad():
            _, losses = _SlicedHeadLoss.apply(hidden.detach(), self.weight.detach(), tokens, likelihood, ones, self.cap)
        derivatives = weigh(-losses)
        if derivatives is None:
            return losses.new_zeros(())
        total, _ = _SlicedHeadLoss.apply(hidden, self.weight, tokens, likelihood, derivatives, self.cap)
        return total


def _logits(hidden: Tensor, weight: Tensor, cap: float | None) -> Tensor:
    logits = (hidden @ weight.t()).float()
    return logits.div_(cap).tanh_().mul_(cap) if cap else logits


class _SlicedHeadLoss(torch.autograd.Function):
    """Compute losses and gradients in the forward pass; the backward pass only scales the gradients."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        tokens: Tensor,
        conflicting: Tensor,
        weights: Tensor,
        cap: float | None,
    ) -> tuple[Tensor, Tensor]:
        needs_hidden_gradient, needs_weight_gradient = ctx.needs_input_grad[:2]
        losses = torch.empty(len(tokens), dtype=torch.float32, device=hidden.device)
        hidden_gradient = torch.empty_like(hidden) if needs_hidden_gradient else None
        weight_gradient = None
        step = max(1, SLICE_VALUES // len(weight))
        for start in range(0, len(tokens), step):
            part = slice(start, start + step)
            logits = _logits(hidden[part], weight, cap)
            targets = tokens[part, None]
            target_logits = logits.gather(-1, targets)
            # d cap * tanh(x / cap) / dx = 1 - tanh(x / cap)^2
            cap_derivative = 1 - (logits / cap).square() if cap else None
            # To save memory, operations on tokens x vocabulary are done in place from here on.
            largest = logits.amax(-1, keepdim=True)
            exp_sum = logits.sub_(largest).exp_().sum(-1, keepdim=True)
            log_p = (target_logits - largest - exp_sum.log()).squeeze(-1)
            with torch.enable_grad():
                log_p.requires_grad_()
                slice_losses = token_losses(log_p, conflicting[part])
                (log_p_gradient,) = torch.autograd.grad(slice_losses.sum(), log_p)
            losses[part] = slice_losses.detach()
            if not (needs_hidden_gradient or needs_weight_gradient):
                continue
            # d log p(token) / d logits = onehot(token) - softmax
            log_p_gradient = (log_p_gradient * weights[part])[:, None]
            gradient = logits.mul_(-log_p_gradient / exp_sum).scatter_add_(-1, targets, log_p_gradient)
            if cap_derivative is not None:
                gradient.mul_(cap_derivative)
            gradient = gradient.to(weight.dtype)
            if hidden_gradient is not None:
                hidden_gradient[part] = gradient @ weight
            if weight_gradient is not None and weight.dtype == torch.float32:
                weight_gradient.addmm_(gradient.t(), hidden[part])
            elif weight_gradient is not None:
                weight_gradient += gradient.t() @ hidden[part]
            elif needs_weight_gradient:
                # Always fp32: a sum over slices in bf16 would lose small contributions.
                weight_gradient = (gradient.t() @ hidden[part]).float()
        ctx.gradients = hidden_gradient, weight_gradient
        ctx.weight_dtype = weight.dtype
        ctx.mark_non_differentiable(losses)
        return (losses * weights).sum(), losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        hidden_gradient, weight_gradient = ctx.gradients
        del ctx.gradients  # Without another reference, autograd keeps the gradient of the weight instead of copying it.
        # On a GPU, the comparison would wait for the forward pass, and the product takes less time.
        scaled = scale.device.type == "cpu" and scale == 1
        if hidden_gradient is not None and not scaled:
            hidden_gradient = hidden_gradient.mul_(scale)
        if weight_gradient is not None:
            weight_gradient = (weight_gradient if scaled else weight_gradient.mul_(scale)).to(ctx.weight_dtype)
        return hidden_gradient, weight_gradient, None, None, None, None
