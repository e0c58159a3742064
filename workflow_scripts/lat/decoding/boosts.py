"""Language boost: decoding that prefers the tokens of the target language, as the training text shows them.

The training text gives each language l its frequencies of tokens. While a translation into l is decoded, the logit of
each token v rises by

    strength * (log p_l(v) - log q(v)),    p_l(v) = (c_l(v) + PRIOR * q(v)) / (n_l + PRIOR),

where c_l(v) counts the token in the texts of the language, which have n_l tokens, and q(v) is its mean relative
frequency over the languages. With the strength 1, this multiplies the probability that the model gives to a token by
how much more likely the token is in the target language than in any of the languages. Tokens that no text has, such as
the end token, are not changed. Nothing is trained.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ..languages import split_direction

# How many tokens the mean over the languages counts for, beside those of the language. It limits what the absence of a
# token from a small text can mean.
PRIOR = 100


def texts_by_language(samples: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the different texts of each language in training samples, both sources and targets.

    Args:
        samples: rows with the keys `direction`, `source` and `target`.
    """
    texts: dict[str, dict[str, None]] = {}
    for sample in samples:
        for code, role in zip(split_direction(sample["direction"]), ("source", "target"), strict=True):
            texts.setdefault(code, {})[sample[role]] = None
    return {code: list(found) for code, found in sorted(texts.items())}


def language_boosts(
    texts: Mapping[str, Sequence[str]], tokenizer: PreTrainedTokenizerBase, vocabulary: int, strength: float
) -> dict[str, Tensor]:
    """Return what each language adds to the logits, [vocabulary], by language; see the module.

    Args:
        texts: texts of each language, at least one with a token.
        tokenizer: the tokenizer of the model.
        vocabulary: number of logits of the model, which may be more than the tokenizer has tokens.
        strength: factor of the logarithms.
    """
    counts = {code: _count(found, tokenizer, vocabulary) for code, found in texts.items()}
    mean = torch.stack([count / count.sum() for count in counts.values()]).mean(0)
    is_known = mean > 0
    boosts = {}
    for code, count in counts.items():
        ratio = (count + PRIOR * mean) / (count.sum() + PRIOR) / mean
        boosts[code] = (strength * ratio.where(is_known, torch.ones_like(ratio)).log()).float()
    return boosts


def _count(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, vocabulary: int) -> Tensor:
    encoded = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    counts = Counter(token for tokens in encoded for token in tokens)
    found = torch.zeros(vocabulary, dtype=torch.float64)
    found[list(counts)] = torch.tensor(list(counts.values()), dtype=torch.float64)
    return found
