"""The files of a published model: weights, configuration, tokenizer, generation config, notices and conversions."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import InputError, atomic_write, read_text, write_lines
from ..manifest import MANIFEST, check_manifest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ADAPTERS = "adapter_config.json"
# Files of a trained model that say nothing to others, or that are written anew.
LEFT_OUT = (MANIFEST, "training.json", "generation_config.json", "chat_template.jinja", "README.md")
WEIGHTS = ".safetensors"
# Keys that may hold a path of the machine that trained the model.
PATHS = {"config.json": "_model_name_or_path", "tokenizer_config.json": "name_or_path"}
CARD = "README.md"
NOTICE, LICENCE = "NOTICE", "LICENSE"
GEMMA_NOTICE = (
    "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms",
    "",
    "The weights in this folder have been modified: they were trained further, see README.md. Their use is subject to"
    " the use restrictions in section 3.2 of these terms.",
)


def copy_model(model: Path, folder: Path) -> None:
    """Copy a trained model, but for what is written anew; weights are hard links where the file system allows it.

    Raises:
        InputError: the model is damaged, or holds adapters apart from their base model.
    """
    check_manifest(model)
    if (model / ADAPTERS).is_file():
        raise InputError(f"{model}: holds adapters; merge them into their base model with peft before publishing")
    for file in sorted(model.iterdir()):
        if file.name in LEFT_OUT or file.name.startswith("."):  # Snakemake has a hidden file in its folders
            continue
        target = folder / file.name
        try:
            os.link(file.resolve(), target) if file.suffix == WEIGHTS else shutil.copyfile(file, target)
        except OSError:
            shutil.copyfile(file, target)


def write_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path, has_chat: bool) -> None:
    """Write the tokenizer, with its chat template only if the model was tuned with it.

    Args:
        tokenizer: the tokenizer of the trained model.
        folder: the published folder.
        has_chat: whether the prompts of the model have the tokenizer's own chat template.
    """
    if not has_chat:
        # Programs would prompt the model with it, and get what it was not tuned for.
        tokenizer.chat_template = None
    tokenizer.save_pretrained(folder)
    for name, key in PATHS.items():
        settings = json.loads(read_text(folder / name))
        if settings.pop(key, None) is not None:
            with atomic_write(folder / name) as handle:
                json.dump(settings, handle, indent=2, ensure_ascii=False)


def write_generation_config(
    tokenizer: PreTrainedTokenizerBase, ends: Sequence[int], decoding: Mapping[str, Any], folder: Path
) -> None:
    """Write the search of a system as the default of the published model.

    Args:
        tokenizer: the tokenizer of the model.
        ends: ids of the tokens that end an output.
        decoding: the settings `beam`, `early_stopping` and `max_new_tokens` of the system.
        folder: the published folder.
    """
    # Imported here, since the library takes seconds to load, and the upload does without it.
    from transformers import GenerationConfig

    beam = decoding["beam"]
    GenerationConfig(
        num_beams=beam,
        do_sample=False,
        early_stopping=bool(decoding["early_stopping"]) and beam > 1,
        max_new_tokens=decoding["max_new_tokens"],
        eos_token_id=list(ends),
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
    ).save_pretrained(folder)


def write_notices(licence: str, text: Path | None, folder: Path) -> None:
    """Write the text of the licence, if there is one, and the notice that the Gemma terms ask for."""
    if text:
        shutil.copyfile(text, folder / LICENCE)
    if licence == "gemma":
        write_lines(folder / NOTICE, GEMMA_NOTICE)


def files_of(folder: Path) -> list[Path]:
    """Return all files of a published folder that its manifest describes: the card may still be edited."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in (MANIFEST, CARD))
