"""What the library mtdata is asked: what its index says of a corpus, and which pairs are in the files of a corpus.

This module runs in a process of its own, which `mtdata_corpora` starts: importing mtdata changes the logging of a
process, and its index of all corpora takes half a gigabyte of memory.

    python -m workflow_scripts.lat.data.mtdata_library COMMAND ARGUMENT...

The commands are the functions in `COMMANDS`. The answer is a JSON object in the last line of the standard output. If
there was an exception, it has the keys `error`, `errno`, and `missing`, which says whether a package is missing.
"""

import difflib
import importlib
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..files import BYTE_ORDER_MARK, first_line, fold

NEAREST = 3
# In place of bytes that are no UTF-8; no text has it for another reason.
DAMAGED = "\ufffd"
# What an entry of the index is made of, besides the id and what it derives itself.
FIELDS = ("url", "filename", "ext", "in_paths", "in_ext", "cols", "meta")


def make_index() -> dict[str, Any]:
    """Make the index in the folder that the environment variable MTDATA names; importing the index does so."""
    from mtdata.index import INDEX

    return {"corpora": len(INDEX)}


def find(*ids: str) -> dict[str, Any]:
    """Return what the index says of some corpora.

    Args:
        ids: ids of corpora, known or not.

    Returns:
        `found`: for each known id, what `mtdata_corpora.Entry` describes; `nearest`: for each unknown id, the ids that
        may be meant.
    """
    from mtdata.index import INDEX

    known = {str(did): entry for did, entry in INDEX.entries.items()}
    found = {}
    for name in ids:
        if name not in known:
            continue
        entry = known[name]
        urls = [entry.url] if isinstance(entry.url, str) else list(entry.url)
        found[name] = {
            "urls": urls,
            # With several addresses, the library takes the names that they end with.
            "names": [entry.filename] if len(urls) == 1 else [url.rsplit("/", 1)[-1] for url in urls],
            "archive": entry.is_archive,
            "members": list(entry.in_paths or ()),
            "format": entry.in_ext or entry.ext,
            "citations": [INDEX.ref_db.get_bibtex(key).strip() for key in entry.cite or ()],
            "parsing": {
                "kind": f"{type(entry).__module__}:{type(entry).__name__}",
                "fields": {"did": name} | {field: getattr(entry, field) for field in FIELDS},
            },
        }
    parallel = [name for name, entry in known.items() if len(entry.did.langs) == 2]
    return {"found": found, "nearest": {name: nearest(name, parallel) for name in ids if name not in known}}


def nearest(wanted: str, known: Sequence[str]) -> list[str]:
    """Return the known ids that an unknown one may stand for, the likeliest first."""
    from mtdata.iso.bcp47 import bcp47

    *words, first, second = wanted.split("-")
    # `deu-eng`, also where the id says `de-en`, in either order.
    codes = [str(bcp47.try_parse(code, code)) for code in (first, second)]
    stem = "-".join(words)
    same = ["-".join([stem, *order]) for order in (codes, codes[::-1])]
    if exact := [name for name in same if name in known]:
        return exact[:1]
    ends = tuple("-" + "-".join(order) for order in (codes, codes[::-1]))
    # Ids in the same languages are told apart by the beginning alone; a corpus may have other languages instead.
    of_languages = {name.rsplit("-", 2)[0]: name for name in known if name.endswith(ends)}
    if close := difflib.get_close_matches(stem, of_languages, n=NEAREST, cutoff=0.7):
        return [of_languages[name] for name in close]
    return difflib.get_close_matches(
        wanted, [name for name in known if name.casefold().startswith(f"{stem.casefold()}-")], n=NEAREST, cutoff=0
    )


def read(facts: str, first: str, second: str, *files: str) -> dict[str, Any]:
    """Write the pairs of a corpus to two files, one line per text, with single spaces.

    Args:
        facts: file with what `find` has said of the corpus, as JSON.
        first: file for the texts in the first language of the id.
        second: file for the texts in the second one.
        files: the files of the corpus, unpacked.

    Returns:
        `pairs`: number of pairs; `empty`: number of pairs that were left out because they lack a text, or the library
        says so of the corpus; `damaged`: number of those that were left out because of bytes that are no text.
    """
    from mtdata.parser import Parser

    entry = _entry_of(**json.loads(Path(facts).read_text(encoding="utf-8"))["parsing"])
    paths = [Path(file) for file in files]
    segments = Parser(paths, ext=entry.in_ext or None, ent=entry).read_segs(show_pbar=False)
    counts = {"pairs": 0, "empty": 0, "damaged": 0}
    with (
        open(first, "w", encoding="utf-8", newline="\n") as sources,
        open(second, "w", encoding="utf-8", newline="\n") as targets,
    ):
        for segment in segments:
            # A third value has what else the publisher says of the pair. Some lines have fewer texts.
            texts = [*segment[:2], "", ""] if isinstance(segment, (list, tuple)) else ["", ""]
            source, target = (fold((text or "").lstrip(BYTE_ORDER_MARK)) for text in texts[:2])
            if entry.is_noisy(source, target):
                counts["empty"] += 1
            elif DAMAGED in source + target or "\0" in source + target:
                counts["damaged"] += 1
            else:
                counts["pairs"] += 1
                print(source, file=sources)
                print(target, file=targets)
    return counts


def _entry_of(kind: str, fields: dict[str, Any]) -> Any:
    """Return an entry of the index without loading the index, unless the entry is of a class of its own."""
    module, _, name = kind.partition(":")
    if module.partition(".")[0] != "mtdata":
        raise ValueError(f"{kind} is no class of mtdata")
    return getattr(importlib.import_module(module), name)(**fields)


COMMANDS = {function.__name__: function for function in (make_index, find, read)}


def main() -> None:
    """Run a command with its arguments, and print its answer."""
    command, *arguments = sys.argv[1:]
    try:
        import mtdata  # noqa: F401, it sets the logging that is replaced here

        logging.basicConfig(force=True, level=logging.WARNING, stream=sys.stderr, format="mtdata: %(message)s")
        answer = COMMANDS[command](*arguments)
    # What the library raises depends on how a file is broken, and many of its exceptions are assertions.
    except Exception as error:
        missing = isinstance(error, ModuleNotFoundError)
        answer = {"error": first_line(error), "missing": missing, "errno": getattr(error, "errno", None)}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
