"""Half of a character never reaches a file: the writer refuses it and names file and line."""

import pytest

from workflow_scripts.lat.files import (
    InputError,
    atomic_write,
    read_table,
    replaced_file,
    write_jsonl,
    write_lines,
    write_table,
)

HALF = "caf\ud83d"


def write_text(path, texts) -> None:
    with atomic_write(path) as handle:
        handle.write("\n".join(texts))


def write_column(path, texts) -> None:
    write_table(path, [{"a": text} for text in texts[1:]], ["a"])


def write_objects(path, texts) -> None:
    write_jsonl(path, ({"text": text} for text in texts))


@pytest.mark.parametrize("write", [write_text, write_lines, write_column, write_objects])
def test_half_a_character_is_one_line_with_file_and_line(tmp_path, write):
    path = tmp_path / "file.txt"
    path.write_text("old\n")
    with pytest.raises(InputError) as error:
        write(path, ["naïve", "two", HALF, "four"])
    assert str(error.value).startswith(f"{path}: line 3 would hold half of a character (U+D83D); ")
    assert "\n" not in str(error.value)
    assert path.read_text() == "old\n" and list(tmp_path.iterdir()) == [path]


def test_the_header_of_a_table_has_as_many_columns_as_its_rows(tmp_path):
    write_table(tmp_path / "table.tsv", [{"my\tlid  1": "nl"}], ["my\tlid  1"])
    assert read_table(tmp_path / "table.tsv") == [{"my lid 1": "nl"}]


def test_a_file_is_replaced_only_when_it_is_complete(tmp_path):
    path = tmp_path / "new" / "figure.png"
    with replaced_file(path) as partial:
        partial.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), replaced_file(path) as partial:
        partial.write_bytes(b"ne")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old" and list(path.parent.iterdir()) == [path]
