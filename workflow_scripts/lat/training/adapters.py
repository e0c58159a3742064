"""Low-rank adapters (LoRA, arXiv 2106.09685) during training, merged into plain weights afterwards."""

from typing import Any

from peft import LoraConfig, LoraModel
from peft.tuners.lora import LoraLayer
from torch import Tensor
from transformers import PreTrainedModel

from ..files import InputError
from ..runtime import log
from .hyperparameters import Hyperparameters

ADAPTERS = "default"
# Share of the update that rounding must leave: small updates vanish between two neighbouring values of bf16.
MIN_KEPT = 0.9


def add_adapters(model: PreTrainedModel, hyperparameters: Hyperparameters) -> None:
    """Freeze the model and add low-rank adapters to its linear layers, in place, if `lora_rank` is above 0."""
    if not hyperparameters.lora_rank:
        return
    config = LoraConfig(
        r=hyperparameters.lora_rank,
        lora_alpha=hyperparameters.lora_alpha,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    LoraModel(model, config, ADAPTERS)
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    log.info("adapters of rank %d, %.2fM parameters", hyperparameters.lora_rank, trained / 1e6)


def plain_weights(model: PreTrainedModel) -> dict[str, Tensor]:
    """Return the weights of the model without adapters; the product of each adapter is added to a copy of its weight.

    An adapter belongs to a linear layer, or to a single parameter, such as the fused weights of all experts of a
    mixture-of-experts layer.

    Raises:
        InputError: most of the update is lost by rounding, which a comparison of logits would not show.
    """
    weights = {_plain_name(key): weight for key, weight in model.state_dict().items() if ".lora_" not in key}
    kept = wanted = 0.0
    for name, module in model.named_modules():
        if isinstance(module, LoraLayer) and ADAPTERS in module.lora_A:
            layer: Any = module  # its kinds share no type that has the product
            key = f"{_plain_name(name)}.{getattr(layer, 'parameter_name', 'weight')}"
            product = layer.get_delta_weight(ADAPTERS).detach().float()
            merged = (weights[key].detach().float() + product).to(weights[key].dtype)
            kept += float(((merged.float() - weights[key].detach().float()) * product).sum())
            wanted += float(product.square().sum())
            weights[key] = merged
    if wanted and kept < MIN_KEPT * wanted:
        raise InputError(
            f"only {100 * kept / wanted:.0f} % of what the adapters learned survives rounding when they are merged into"
            " weights of the model's dtype; raise learning_rate or steps, or set `dtype: fp32`"
        )
    return weights


def _plain_name(name: str) -> str:
    """The name without the wrappers that peft puts around layers and parameters."""
    return name.replace(".base_layer", "")
