"""Check the ids of the library mtdata in a config.

Their form and their languages are checked with all else. The index of the library, which takes seconds to load, is
asked only before ids are downloaded.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..data.mtdata_corpora import (
    FOLDER,
    ID,
    MTDATA,
    check_id,
    is_test_set,
    look_up,
    unknown_id,
    unread_format,
    uses_of,
)
from ..files import InputError


def check_held_out(key: str, corpora: Mapping[str, Mapping[str, Sequence[str]]]) -> None:
    """Check that no id is both training text and held out, since none of its pairs would be left to train on.

    Args:
        key: key of the corpora.
        corpora: the corpora of each role.

    Raises:
        InputError: an id is.
    """
    for role in ("test", "demonstrations"):
        for name in corpora[role].get(MTDATA, ()):
            if name in corpora["train"].get(MTDATA, ()):
                raise InputError(
                    f"config: {key}.{role}.{MTDATA}: `{name}` is in {key}.train.{MTDATA}, too, where none of its pairs"
                    " would be left; drop it from one of them"
                )


def check_ids(key: str, ids: Sequence[str], directions: Sequence[str], training: bool, alone: bool) -> None:
    """Check that ids have the form of ids, and that their languages are those of the directions.

    Args:
        key: key of the ids.
        ids: the ids.
        directions: the directions that use them.
        training: whether they are for training, see `uses_of`.
        alone: whether there are no other corpora, so that every direction needs an id.

    Raises:
        InputError: an id has another form or other languages, or a direction has no text.
    """
    for name in ids:
        try:
            check_id(name)
        except InputError as error:
            raise InputError(f"config: {key}: {error}") from None
    # The index tells how an id with other codes, such as `de-en`, is written.
    if not all(map(ID.fullmatch, ids)):
        return
    uses = {direction: uses_of(ids, direction, training) for direction in directions}
    used = {use.id for found in uses.values() for use in found}
    for name in ids:
        if name in used:
            continue
        fitting = [direction for direction in directions if uses_of([name], direction, training)]
        if fitting:
            reason = f"is not used, since {fitting[0]} has an id whose languages are in this order; drop it"
        else:
            reason = f"has the languages of none of the directions {' '.join(directions)}; drop it or add the direction"
        raise InputError(f"config: {key}: `{name}` {reason}")
    for direction, found in uses.items():
        if alone and not found:
            raise InputError(f"config: {key}: no id has the languages of `{direction}`; add one, in either order")


def check_mtdata(config: Mapping[str, Any], ids: Sequence[str], folder: Path = FOLDER) -> None:
    """Check that the index of the library has the ids that are about to be downloaded, in formats that can be read.

    Args:
        config: the checked configuration.
        ids: the ids.
        folder: the folder `results/download/sources/mtdata`, where the index is made if it is missing.

    Raises:
        InputError: it has not, or the library is not installed.
    """
    if not ids:
        return
    found = look_up(ids, folder)
    for name in ids:
        if name in found.entries:
            problem = unread_format(name, found.entries[name])
        else:
            problem = unknown_id(name, found.nearest[name])
        if problem:
            raise InputError(f"config: {_key_of(config, name)}: {problem}")


def mtdata_warnings(config: Mapping[str, Any]) -> list[str]:
    """Return a warning for each published test set among the training text of the benchmarks of the experiments."""
    used = {experiment["benchmark"] for experiment in config["experiments"]}
    return [
        f"config: {key}: `{name}` is a published test set; a model that is trained on it can no longer be tested on it"
        for key, benchmark, role, name in _ids_of(config)
        if role == "train" and benchmark in used and is_test_set(name)
    ]


def _key_of(config: Mapping[str, Any], wanted: str) -> str:
    return next(key for key, _, _, name in _ids_of(config) if name == wanted)


def _ids_of(config: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return key, benchmark, role and id of every id in a config."""
    return [
        (f"benchmarks.{benchmark}.corpora.{role}.{MTDATA}", benchmark, role, name)
        for benchmark, entry in config["benchmarks"].items()
        for role, corpora in entry.get("corpora", {}).items()
        for name in corpora.get(MTDATA, ())
    ]
