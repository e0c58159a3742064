"""Language identification with a small fastText model."""

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_lid import SENTENCES, write_tiny_lid

from timing.evaluation import identify
from workflow_scripts.lat.data import lid
from workflow_scripts.lat.data.lid import PY3LANGID, Identifier, LanguageIdentifier, load_identifier, readable_text
from workflow_scripts.lat.files import InputError


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return write_tiny_lid(tmp_path_factory.mktemp("lid") / "tiny.bin")


@pytest.fixture(scope="module")
def identifier(model) -> LanguageIdentifier:
    return LanguageIdentifier(model)


@pytest.fixture(scope="module")
def py3langid() -> Identifier:
    return load_identifier(PY3LANGID)


def test_labels_have_no_prefix_and_are_in_order(identifier):
    found = identifier.identify(list(SENTENCES.values()))
    assert [label for label, _ in found] == list(SENTENCES)
    assert all(0 < probability <= 1 for _, probability in found)


def test_lines_without_text_keep_their_place(identifier):
    found = identifier.identify(["", SENTENCES["nl"], " \t\n", SENTENCES["it"]])
    assert [label for label, _ in found] == ["", "nl", "", "it"]
    assert found[0] == found[2] == ("", 0.0)
    assert identifier.identify([]) == []
    assert identifier.identify(["", " "]) == [("", 0.0), ("", 0.0)]


def test_line_breaks_count_as_spaces(identifier):
    line = SENTENCES["ro"]
    broken = line.replace(" ", "\n", 3).replace(" ", "\r\n", 2)
    assert identifier.identify([broken]) == identifier.identify([line])


@pytest.mark.parametrize(
    "mark",
    [
        "<s>", "</s>", "<pad>", "<unk>", "<bos>", "<eos>", "<mask>", "<EOS_TOKEN>", "<|endoftext|>", "<|im_end|>",
        "<|start_header_id|>", "<｜end▁of▁sentence｜>", "<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]",
        "<<SYS>>", "<</SYS>>", "<extra_id_0>", "<unused7>", "<0x0A>", "[PAD]", "[CLS]",
    ],
)  # fmt: skip
def test_special_tokens_are_no_text(mark):
    assert readable_text(f"{mark} Questa è{mark} una frase.{mark}") == "Questa è una frase."
    assert readable_text(mark) == ""


@pytest.mark.parametrize("text", ["<3 ti amo", "a <b>c</b>", "x < y | y > x", "[1] e [due]", "<| a | b >", "<<due>>"])
def test_other_text_with_brackets_stays(text):
    assert readable_text(text) == text


def test_every_identifier_ignores_special_tokens(model):
    for name in (str(model), "py3langid"):
        identifier = load_identifier(name)
        (plain,) = identifier.identify([SENTENCES["it"]])
        marked = [f"</s> {SENTENCES['it']}", f"<|im_start|>{SENTENCES['it']}<|im_end|>", "</s>", "<s> </s>"]
        assert identifier.identify(marked) == [plain, plain, ("", 0.0), ("", 0.0)]
        assert plain[0] == "it"


def test_many_lines_are_one_call_of_the_library(identifier):
    started = time.process_time()
    assert len(identifier.identify([SENTENCES["en"]] * 10_000)) == 10_000
    assert time.process_time() - started < 1


@settings(max_examples=100, deadline=None)
@given(lines=st.lists(st.text(max_size=40) | st.text("abc dé漢字ж", max_size=40), max_size=12))
def test_py3langid_says_of_many_lines_what_it_says_of_each(py3langid, lines):
    texts = [*lines, "Dit is een zin.", "", "A", "ÄÖÜ", "Это предложение.", "漢字" * 300, "é" * 500, "</s> Une phrase."]
    assert py3langid.identify(texts) == identify(py3langid._library, texts)


def test_py3langid_looks_at_lines_in_batches(py3langid, monkeypatch):
    lines = [f"{'een zin met woorden ' * (number % 5)}{number}" for number in range(20)]
    expected = py3langid.identify(lines)
    monkeypatch.setattr(lid, "BATCH", 3)
    assert py3langid.identify(lines) == expected


def test_loading_prints_nothing(model, capfd):
    LanguageIdentifier(model)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (b"", "no fastText model"),
        (b"<html>Not found</html>", "no fastText model"),
    ],
)
def test_the_error_names_a_wrong_file(tmp_path, content, message):
    path = tmp_path / "lid.176.bin"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=rf"lid\.176\.bin: {message}"):
        LanguageIdentifier(path)


def test_the_error_names_a_file_of_an_unsupported_version(model, tmp_path):
    path = tmp_path / "future.bin"
    content = bytearray(model.read_bytes())
    content[4:8] = (99).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"future\.bin: a broken fastText model"):
        LanguageIdentifier(path)


def test_a_model_of_another_task_is_refused(tmp_path):
    path = write_tiny_lid(tmp_path / "topics.bin", {"sport": "goal match", "science": "atom cell"})
    with pytest.raises(InputError, match="not one that identifies languages"):
        LanguageIdentifier(path)


def test_a_published_model_that_was_changed_is_one_clear_error(model, tmp_path):
    path = tmp_path / "lid.176.ftz"
    path.write_bytes(model.read_bytes())
    with pytest.raises(InputError, match=r"lid\.176\.ftz: not the file that resources/sources\.tsv describes"):
        LanguageIdentifier(path)
