"""Sets of general instructions: the training samples of Alpaca, the prompts of AlpacaEval, or the user's own file.

A set is a file with a JSON list of objects, or a `.jsonl` file with one JSON object per line. Every object has the key
`instruction`; it may have the key `input`, and to train on it, it needs the key `output`.
"""

from pathlib import Path
from typing import Any, NamedTuple

from ..files import InputError, TextError, check_characters, parse_json, read_jsonl, read_text


class Task(NamedTuple):
    """An instruction, its input (None if it has none), and its output (empty if it is unknown)."""

    instruction: str
    input: str | None
    output: str


def read_instructions(path: Path, with_outputs: bool = False) -> list[Task]:
    """Read the tasks of a set, in the order of the file.

    Args:
        path: file of the set.
        with_outputs: leave out tasks without an output, which cannot be trained on.

    Raises:
        InputError: the file is not a set of instructions, or it has no tasks.
    """
    tasks = []
    for number, row in enumerate(_objects(path), 1):
        values = [row.get(key) or "" for key in ("instruction", "input", "output")]
        if not all(isinstance(value, str) for value in values) or not values[0].strip():
            raise InputError(f"{path}: object {number} needs a text `instruction`, and texts as `input` and `output`")
        instruction, given, output = map(str.strip, values)
        if output or not with_outputs:
            tasks.append(Task(instruction, given or None, output))
    if not tasks:
        raise InputError(f"{path}: no instruction{' with an output' * with_outputs}; take another set")
    return tasks


def _objects(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".jsonl":
        return read_jsonl(path)
    try:
        rows = parse_json(read_text(path))
    except TextError as error:
        raise InputError(f"{path}: {error}; if it holds one object per line, call it .jsonl") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(
            f"{path}: not a list of objects, nor called .jsonl; see workflow_scripts/lat/prompts/instructions.py for "
            "the layout of a set"
        )
    try:
        for number, row in enumerate(rows, 1):
            check_characters(row, f"object {number}")
    except TextError as error:
        raise InputError(f"{path}: {error}; correct or remove the object") from None
    return rows
