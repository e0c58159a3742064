"""Models of the Hugging Face hub, and what to do where it refuses."""

from collections.abc import Sequence
from pathlib import Path

from ..files import InputError

# Weights in one format, and what describes them.
FILES = ("*.json", "*.safetensors", "*.model", "*.txt")
# BLEURT's checkpoints are older.
OLDER_FILES = (*FILES, "*.bin")


def fetch_snapshot(hub: str, revision: str | None, folder: Path, patterns: Sequence[str] = FILES) -> None:
    """Get a model's files from the hub into a folder, which appears only once it is complete.

    Finished files wait in a hidden neighbour: Snakemake deletes the folder before another try.

    Args:
        hub: the repository, such as `meta-llama/Llama-2-7b-hf`.
        revision: commit, tag or branch; None for the main branch.
        folder: where the files go.
        patterns: of the names of the wanted files.

    Raises:
        InputError: the model is gated, private or does not exist, or the hub cannot be reached.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

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
    # Network errors of all kinds, and the library's own, which say in their first line what happened.
    except OSError as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"{hub}: could not be downloaded ({reason}); check the network and rerun, finished files are kept, or put"
            f" a copy at {folder}"
        ) from None
    unfinished.rename(folder)
