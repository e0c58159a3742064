"""Sets of general instructions: Alpaca's training samples, AlpacaEval's prompts, or a file of one's own.

A set is a JSON list, or JSON lines in a file called `.jsonl`, of objects with `instruction`, where there is one
`input`, and, to train on, `output`.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from ..files import InputError, read_jsonl, read_text


class Task(NamedTuple):
    """An instruction, its input if it has one, and what was answered, empty if nothing is known."""

    instruction: str
    input: str | None
    output: str


def read_instructions(path: Path, with_outputs: bool = False) -> list[Task]:
    """The tasks of a set, in its order.

    Args:
        path: the file.
        with_outputs: tasks without an output are left out, since nothing can be learned from them.

    Raises:
        InputError: it is no such set, or is empty.
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
        rows = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}: line {error.lineno} is not JSON ({error.msg}); if it holds an object a line, call it .jsonl"
        ) from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(
            f"{path}: not a list of objects, nor called .jsonl; see workflow_scripts/lat/instructions.py for what is"
        )
    return rows
