"""Low-rank adapters (LoRA, arXiv 2106.09685) during training, merged into plain weights afterwards."""

from peft import LoraConfig, LoraModel
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor
from transformers import PreTrainedModel

from ..runtime import log
from .hyperparameters import Hyperparameters

ADAPTERS = "default"


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
    """Return the weights of the model without adapters; the product of each adapter is added to a copy of its layer."""
    weights = model.state_dict()
    for name, module in model.named_modules():
        if isinstance(module, LoraLinear):
            adapted = module.get_base_layer().weight
            merged = adapted.detach() + module.get_delta_weight(ADAPTERS).detach().to(adapted.dtype)
            weights = {key: value for key, value in weights.items() if not key.startswith(f"{name}.lora_")}
            weights[f"{name}.base_layer.weight"] = merged
    return {key.replace(".base_layer.", "."): value for key, value in weights.items()}
