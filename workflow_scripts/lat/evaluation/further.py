"""Metrics beside BLEU and chrF++: spBLEU, and every metric on the lines in the target language alone.

spBLEU (Goyal et al., arXiv 2106.03193) is BLEU on the pieces of a SentencePiece model that is the same for all
languages, here that of FLORES-200. A metric called `...-on-target` is the corpus score of the lines that language
identification assigns to the target language. It says how good the translations are that are translations into this
language; systems whose lines differ in this are compared on different lines.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from ..files import InputError
from .scores import metrics

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

SPBLEU = "spBLEU"
ON_TARGET = "-on-target"
FURTHER_METRICS = (SPBLEU, *(f"{metric}{ON_TARGET}" for metric in ("BLEU", "chrF++", SPBLEU)))
# The tokenizer of SacreBLEU for spBLEU.
TOKENIZER = "flores200"


class FurtherScore(NamedTuple):
    """A score of one direction, from 0 to 100 or `nan` if it is of no line, and the number of lines that it is of."""

    metric: str
    value: float
    n: int
    signature: str


def needs_sentencepiece(names: Sequence[str]) -> bool:
    """Tell whether one of some metrics needs the SentencePiece model of spBLEU."""
    return any(name.startswith(SPBLEU) for name in names)


def offer_sentencepiece(model: Path, cache_folder: Path) -> None:
    """Give SacreBLEU a downloaded SentencePiece model, which it would otherwise download itself.

    This must run before SacreBLEU is imported, since SacreBLEU then reads the place of its cache.

    Args:
        model: the downloaded file.
        cache_folder: an empty folder that becomes SacreBLEU's cache.

    Raises:
        InputError: the file does not exist.
    """
    if not model.is_file():
        raise InputError(f"{model}: no such file; run again to download it, or leave out {SPBLEU} in score.further")
    os.environ["SACREBLEU"] = str(cache_folder)
    from sacrebleu.tokenizers.tokenizer_spm import SACREBLEU_DIR, SPM_MODELS

    link = Path(SACREBLEU_DIR) / "models" / PurePosixPath(SPM_MODELS[TOKENIZER]["url"]).name
    if not link.is_relative_to(cache_folder):
        raise RuntimeError("SacreBLEU was imported before its cache was set")
    link.parent.mkdir(parents=True)
    link.symlink_to(model.absolute())


@cache
def sentencepiece_bleu() -> BLEU:
    """Return spBLEU, with the model of `offer_sentencepiece`.

    Raises:
        InputError: the file is no SentencePiece model.
    """
    from sacrebleu.metrics.bleu import BLEU

    try:
        metric = BLEU(tokenize=TOKENIZER)
    except (RuntimeError, OSError) as error:
        raise InputError(f"spBLEU: the SentencePiece model cannot be read ({error}); delete it and run again") from None
    metric.num_refs = 1
    return metric


def further_scores(
    names: Sequence[str],
    hypotheses: Sequence[str],
    references: Sequence[str],
    on_target: Sequence[bool],
    direction: str,
) -> list[FurtherScore]:
    """Compute further metrics of the output lines of a direction.

    Args:
        names: some of `FURTHER_METRICS`.
        hypotheses: the output lines.
        references: the reference lines.
        on_target: whether language identification assigns each output line to the target language.
        direction: `src-tgt`.

    Raises:
        InputError: the numbers of lines differ, or there are none.
    """
    if not len(hypotheses) == len(references) == len(on_target) or not references:
        raise InputError(
            f"{direction}: {len(hypotheses)} hypotheses and {len(on_target)} verdicts for {len(references)} references;"
            " decode and detect it again"
        )
    chosen = [number for number, is_chosen in enumerate(on_target) if is_chosen]
    known: dict[str, BLEU | CHRF] = dict(metrics(direction))
    if needs_sentencepiece(names):
        known[SPBLEU] = sentencepiece_bleu()
    scores = []
    for name in names:
        metric = known[name.removesuffix(ON_TARGET)]
        numbers = chosen if name.endswith(ON_TARGET) else range(len(references))
        value = math.nan
        if numbers:
            lines = [hypotheses[number] for number in numbers]
            value = metric.corpus_score(lines, [[references[number] for number in numbers]]).score
        scores.append(FurtherScore(name, value, len(numbers), str(metric.get_signature())))
    return scores
