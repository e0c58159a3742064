"""Files that the steps exchange: they are complete or absent, have one line per item, and give clear errors."""

import pytest

from workflow_scripts.lat.files import (
    InputError,
    Journal,
    atomic_write,
    first_line,
    fold,
    read_jsonl,
    read_lines,
    read_table,
    read_text,
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


@pytest.mark.parametrize(
    "lines",
    [[], [""], ["a"], ["a", "", "b "], ["carriage\rreturn", "form\x0cfeed", "tab\x0b", "next\x85", "line\u2028end"]],
)
def test_lines_are_read_as_they_were_written(tmp_path, lines):
    write_lines(tmp_path / "lines.txt", lines)
    assert read_lines(tmp_path / "lines.txt") == lines
    assert (tmp_path / "lines.txt").read_bytes().count(b"\n") == len(lines)


@pytest.mark.parametrize("item", ["b\nc", "b\r"])
def test_a_line_break_that_a_reader_would_remove_is_an_error(tmp_path, item):
    with pytest.raises(ValueError, match="item 2 holds a line feed or ends with a carriage return"):
        write_lines(tmp_path / "lines.txt", ["a", item])
    assert not (tmp_path / "lines.txt").exists()


def test_files_of_other_systems_give_the_same_lines(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\n")
    assert read_lines(path) == ["one", "two"]
    path.write_bytes(b'\xef\xbb\xbf{"a": "one"}\r\n')
    assert read_jsonl(path) == [{"a": "one"}]
    assert read_text(path).startswith("{")
    path.write_bytes("\ufeffa\tb\r\n1\t2\r\n".encode())
    assert read_table(path) == [{"a": "1", "b": "2"}]


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
        (b"fine\n\xff\xfe", read_lines, "line 2: not UTF-8 at byte 5; convert it"),
        ("fine\n".encode("utf-16-le"), read_lines, "line 1: a NUL character at byte 1; convert it"),
        (b"one\rtwo\r", read_lines, "end with carriage returns instead of line feeds; convert it"),
        (b'{"a": 1}\n{"a": ', read_jsonl, "line 2 is not JSON"),
        (b'{"a": ' + b"1" * 5000 + b"}\n", read_jsonl, "line 1 is not JSON that Python can read"),
        (b'{"a": ' * 100_000, read_jsonl, "line 1 is not JSON that Python can read"),
        (b'{"a": 1}\n{"a": ["\\ud83d"]}\n', read_jsonl, r"line 2: the escape \\ud83d is half of a character; correct"),
        (b'{"\\udc00": 1}\n', read_jsonl, r"line 1: the escape \\udc00 is half"),
        (b'{"a": "b\\u0000"}\n', read_jsonl, r"line 1: the escape \\u0000 is no text"),
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


def test_whole_characters_may_be_written_as_escapes(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(r'{"a": "\ud83d\ude42 \u00e8 \\ud83d"}' + "\n")
    assert read_jsonl(path) == [{"a": "\U0001f642 è \\ud83d"}]


def test_nesting_that_the_parser_can_read_is_checked_too(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a":' * 900 + r'"\ud83d"' + "}" * 900 + "\n")
    with pytest.raises(InputError, match=r"line 1: the escape \\ud83d is half of a character"):
        read_jsonl(path)


def test_a_folder_in_place_of_a_file_is_one_clear_error(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_text(tmp_path)


def test_a_journal_drops_an_incomplete_last_line_even_inside_a_character(tmp_path):
    journal = Journal(tmp_path / "journal")
    journal.add({"a": "è\u2028"})
    complete = journal.path.read_bytes()
    journal.path.write_bytes(complete + b'{"b": "\xc3')
    assert journal.read() == [{"a": "è\u2028"}]
    assert journal.path.read_bytes() == complete


def test_an_error_without_a_message_is_called_by_its_class():
    assert first_line(OSError()) == "OSError"
    assert first_line(ValueError("\n one \ntwo")) == "one "
