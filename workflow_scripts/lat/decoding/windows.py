"""How many tokens a model can look at."""

from transformers import PreTrainedConfig


def context_window(config: PreTrainedConfig) -> int | None:
    """Maximum number of tokens of a model from its configuration; None if the configuration gives none."""
    return getattr(config.get_text_config(), "max_position_embeddings", None)


def sliding_window(config: PreTrainedConfig) -> int | None:
    """Number of tokens that attention looks back in the layers with a sliding window; None without such layers."""
    return getattr(config.get_text_config(), "sliding_window", None)
