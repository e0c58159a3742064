"""Upload a published folder to the Hugging Face Hub, as one commit, after its files and its card have been checked."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..files import InputError, first_line
from ..manifest import MANIFEST, damage_of
from ..runtime import log
from .folder import CARD

HIDDEN = ".*"  # Snakemake has a hidden file in its folders
# Keys without which a card does not say whose model it is and how it may be used.
REQUIRED = ("language", "license", "library_name", "pipeline_tag")


def check_folder(folder: Path) -> None:
    """Check that a folder is as it was written, but for its card, and that the card has its metadata.

    Raises:
        InputError: a file has changed, or the card lacks metadata.
    """
    from huggingface_hub import ModelCard

    if damage := damage_of(folder):
        raise InputError(f"{folder}: {damage} since it was written; delete the folder and run again to make it anew")
    if not (folder / CARD).is_file():
        raise InputError(f"{folder}: {CARD} is missing; delete the folder and run again to make it anew")
    try:
        data = ModelCard.load(folder / CARD).data.to_dict()
    except (ValueError, TypeError) as error:
        raise InputError(f"{folder / CARD}: its metadata cannot be read ({first_line(error)}); correct it") from None
    missing = [key for key in REQUIRED if not data.get(key)]
    if missing:
        raise InputError(f"{folder / CARD}: its metadata lacks {', '.join(missing)}; add it")


def push(folder: Path, repository: str, private: bool) -> dict[str, str]:
    """Upload a folder, whose repository is created if it does not exist.

    Args:
        folder: the folder.
        repository: its repository on the hub, `owner/name`.
        private: whether only its owner may see the repository.

    Returns:
        Repository, commit, and the address of the commit.

    Raises:
        InputError: the folder is not as it was written, the hub refuses the card or the repository, or the repository
            exists and is public although it should be private.
    """
    from huggingface_hub import HfApi, ModelCard
    from huggingface_hub.errors import RepositoryNotFoundError

    check_folder(folder)
    api = HfApi()
    with _explained(repository):
        try:
            ModelCard.load(folder / CARD).validate()
        except ValueError as error:
            raise InputError(f"{folder / CARD}: the hub refuses its metadata ({first_line(error)})") from None
        try:
            is_public = not api.model_info(repository).private
        except RepositoryNotFoundError:
            api.create_repo(repository, private=private)
            log.info("%s: created, %s", repository, "private" if private else "public")
        else:
            if private and is_public:
                raise InputError(
                    f"{repository}: is public, but publish.private is true; set `private: false`, or make the"
                    " repository private on the hub"
                )
        message = "Upload of a model of the workflow Language-aware tuning"
        commit = api.upload_folder(
            repo_id=repository, folder_path=folder, ignore_patterns=[MANIFEST, HIDDEN], commit_message=message
        )
    log.info("%s: %s", repository, commit.commit_url)
    return {"repository": repository, "commit": commit.oid, "url": str(commit.commit_url)}


@contextmanager
def _explained(repository: str) -> Iterator[None]:
    """Turn the errors of the hub's library into errors that name a remedy."""
    from httpx2 import HTTPError
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except HfHubHTTPError as error:
        status = error.response.status_code
        remedy = "set HF_TOKEN to a token with write access" if status in (401, 403) else "correct it and run again"
        raise InputError(f"{repository}: the hub refuses the upload ({first_line(error)}); {remedy}") from None
    except (OSError, HTTPError, ValueError) as error:  # the network, or a server that is no hub
        raise InputError(
            f"{repository}: could not be uploaded ({first_line(error)}); check the network and run again"
        ) from None
