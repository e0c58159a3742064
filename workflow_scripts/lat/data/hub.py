"""Download models from the Hugging Face Hub, with error messages that name a remedy."""

from collections.abc import Sequence
from pathlib import Path

from ..files import InputError, first_line

# Weights in a single format, configuration and tokenizer.
FILES = ("*.json", "*.safetensors", "*.model", "*.txt")
# The weights of BLEURT's checkpoints are in the older PyTorch format.
OLDER_FILES = (*FILES, "*.bin")


def fetch_snapshot(hub: str, revision: str | None, folder: Path, patterns: Sequence[str] = FILES) -> None:
    """Download the files of a model into a folder, which appears only once it is complete.

    Until then, the files are in a hidden folder beside it, since Snakemake deletes the output folder before a rerun.

    Args:
        hub: repository on the hub, such as `meta-llama/Llama-2-7b-hf`.
        revision: commit, tag or branch; None for the main branch.
        folder: folder for the files.
        patterns: patterns of the names of the files to download.

    Raises:
        InputError: the model is gated, private or does not exist, its name is no name of the hub, or the hub cannot be
            reached.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    unfinished = folder.with_name(f".{folder.name}.unfinished")
    try:
        snapshot_download(hub, revision=revision, local_dir=unfinished, allow_patterns=list(patterns))
    except GatedRepoError:
        raise InputError(f"{hub}: gated; accept its licence at https://huggingface.co/{hub} and set HF_TOKEN") from None
    except RepositoryNotFoundError:
        raise InputError(
            f"{hub}: the hub has no such model, or it is private; correct its name, or set HF_TOKEN"
        ) from None
    except RevisionNotFoundError:
        raise InputError(f"{hub}: has no revision `{revision}`; correct `revision`") from None
    except HFValidationError:
        raise InputError(f"{hub}: no name of a model on the hub; write it as owner/name, without an address") from None
    # Network errors and errors of the library itself; the first line of their message names the cause.
    except OSError as error:
        raise InputError(
            f"{hub}: could not be downloaded ({first_line(error)}); check the network and rerun, finished files are"
            f" kept, or put a copy at {folder}"
        ) from None
    unfinished.rename(folder)
