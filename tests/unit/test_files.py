"""Files that the steps exchange: they are complete or absent, have one line per item, and give clear errors."""

import pytest

from workflow_scripts.lat.files import (
    InputError,
    atomic_write,
    fold,
    read_jsonl,
    read_lines,
    read_table,
    replaced_folder,
    write_jsonl,
    write_lines,
    write_table,
)


def test_an_interrupted_writer_leaves_only_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old\n")
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as handle:
        handle.write("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old\n"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_writer_leaves_only_the_old_folder(tmp_path):
    folder = tmp_path / "folder"
    with replaced_folder(folder) as partial:
        (partial / "old").touch()
    with pytest.raises(KeyboardInterrupt), replaced_folder(folder) as partial:
        (partial / "half").touch()
        raise KeyboardInterrupt
    assert [path.name for path in folder.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("lines", [[], [""], ["a"], ["a", "", "b "], ["form\x0cfeed", "line\u2028separator"]])
def test_lines_are_read_as_they_were_written(tmp_path, lines):
    write_lines(tmp_path / "lines.txt", lines)
    assert read_lines(tmp_path / "lines.txt") == lines
    assert (tmp_path / "lines.txt").read_text().count("\n") == len(lines)


def test_a_line_feed_inside_an_item_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="item 2 holds a line feed"):
        write_lines(tmp_path / "lines.txt", ["a", "b\nc"])
    assert not (tmp_path / "lines.txt").exists()


def test_fold_returns_one_line_with_single_spaces():
    assert fold(" a\n\nb\u2028c\x85d\t e\x0c") == "a b c d e"


def test_json_lines_are_unescaped_and_read_as_they_were_written(tmp_path):
    write_jsonl(tmp_path / "rows.jsonl", [{"text": "città"}])
    assert "città" in (tmp_path / "rows.jsonl").read_text(encoding="utf-8")
    assert read_jsonl(tmp_path / "rows.jsonl") == [{"text": "città"}]


def test_tables_have_one_line_per_row_whatever_the_values(tmp_path):
    write_table(tmp_path / "table.tsv", [{"a": "tab\there\nand line", "b": 'a "quote"'}], ("a", "b"))
    assert read_table(tmp_path / "table.tsv") == [{"a": "tab here and line", "b": 'a "quote"'}]


@pytest.mark.parametrize(
    ("content", "read", "message"),
    [
        (b"fine\n\xff\xfe", read_lines, "not UTF-8 at byte 5; convert it"),
        (b'{"a": 1}\n{"a": ', read_jsonl, "line 2 is not JSON"),
        (b"[1]\n", read_jsonl, "line 1 is not a JSON object"),
        (b"a\tb\n1\n", read_table, "line 2 has 1 columns, the header 2"),
    ],
)
def test_a_broken_file_gives_one_clear_error(tmp_path, content, read, message):
    path = tmp_path / "broken"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_gives_one_clear_error(tmp_path):
    with pytest.raises(InputError, match="nothing: no such file"):
        read_lines(tmp_path / "nothing")
