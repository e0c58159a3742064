"""Code-switching rates: words in another script, and windows of words in another language."""

import math

import pytest
from babel.core import get_global

from workflow_scripts.lat.evaluation.offtarget import classify, off_target_metrics
from workflow_scripts.lat.evaluation.switching import (
    SWITCHING_METRICS,
    WINDOW,
    detection_metrics,
    scripts_of,
    switched_windows,
    switching_metrics,
    switching_scores,
    windows_of,
    words_of,
)
from workflow_scripts.lat.files import InputError
from workflow_scripts.lat.languages import find_language, table

DUTCH = "een zin die helemaal in het Nederlands is geschreven"
MIXED = "een zin met una parte molto lunga in italiano erin"


class Identifier:
    """An identifier that says Italian of a text with more than two Italian words, and Dutch of all others."""

    name = signature = "made-up"

    def __init__(self, score: float = 0.95) -> None:
        self.score, self.seen = score, []

    def identify(self, lines):
        self.seen += lines
        italian = {"una", "parte", "molto", "lunga", "italiano"}
        return [("it" if len(italian & set(line.split())) > 2 else "nl", self.score) for line in lines]


def rates(outputs, direction, sources=None, label=None, identifier=None):
    sources = sources or [""] * len(outputs)
    label = label or direction.split("-")[1]
    lines = classify([(label, 0.9)] * len(outputs), outputs, sources, direction)
    scores = switching_scores(lines, outputs, sources, direction, identifier or Identifier())
    return {score.metric: (score.value, score.n) for score in scores}


@pytest.mark.parametrize(
    ("output", "target", "count", "switched"),
    [
        ("это простой example перевода", "ru", 4, ["example"]),
        ("это NASA, Linux, 5 km и API", "ru", 6, []),  # names and units
        ("файл config.yaml, опция --force, поле %(count)s и user@host", "ru", 4, []),
        ("вызов print() и https://example.org/page", "ru", 2, []),
        ("een zin met слово en één teken с", "nl", 8, ["слово"]),
        ("μ en Ω zijn symbolen", "nl", 5, []),
        ("een zin met 猫 erin", "nl", 5, ["猫"]),
        ("我喜欢小猫", "zh", 5, []),
        ("我喜欢这个 feature 的小猫", "zh", 9, ["feature"]),
        ("我喜欢这个feature的小猫", "zh", 9, ["feature"]),
        ("これはコーヒーです", "ja", 9, []),
        ("이것은 한국어 문장입니다 漢字", "ko", 4, ["漢字"]),
        ("это українська мова", "ru", 3, []),  # in the same script
        ("ovo je rečenica", "sr-Latn", 3, []),
        ("ово је реченица sa rečima", "sr", 5, ["rečima"]),
        ("<|im_end|> een </s> zin", "nl", 2, []),
        ("l'Italia è bella", "it", 3, []),
        ("12:30 ... 5 %", "nl", 0, []),
    ],
)
def test_words_in_another_script(output, target, count, switched):
    assert words_of(output, "", target) == (count, switched)


def test_a_latin_word_of_the_source_is_no_switch_and_any_other_word_of_it_is():
    assert words_of("это простой example текста", "A simple Example of text", "ru").switched == []
    assert words_of("это простой example текста", "A simple examples", "ru").switched == ["example"]
    assert words_of("введите e-mail, logs", "Enter your email", "ru").switched == ["logs"]
    assert words_of("een слово erin", "это слово", "nl").switched == ["слово"]


def test_windows_have_words_alone():
    assert windows_of("Een zin, van „precies” zes woorden!") == ["Een zin van precies zes woorden"]
    assert windows_of("een zin van 5 woorden config.yaml %s erin") == []
    assert windows_of("één twee d'un drie-vier vijf zes zeven") == [
        "één twee d'un drie-vier vijf zes", "twee d'un drie-vier vijf zes zeven",
    ]  # fmt: skip
    assert len(windows_of(DUTCH)) == len(DUTCH.split()) - WINDOW + 1


def test_a_window_counts_from_a_probability_on_and_is_identified_once():
    found = rates([MIXED, DUTCH, MIXED, "kort"], "en-nl")
    assert found["CSR-window"] == (pytest.approx(200 / 3), 3)
    assert rates([MIXED, DUTCH], "en-nl", identifier=Identifier(0.94))["CSR-window"] == (0.0, 2)
    assert rates([MIXED, DUTCH], "en-it", label="it")["CSR-window"] == (50.0, 2)
    identifier = Identifier()
    (windows, none) = switched_windows([MIXED, "kort"], ["en-nl"] * 2, identifier)
    assert none is None and {label for _, label in windows} == {"it"}
    assert ("met una parte molto lunga in", "it") in windows
    switched_windows([MIXED, MIXED], ["en-nl"] * 2, identifier := Identifier())
    assert len(identifier.seen) == len(set(identifier.seen))


def test_the_rates_are_of_lines_on_target():
    outputs = ["это простой example", "это", "...", "это совсем другое дело"]
    assert rates(outputs, "en-ru") == {
        "CSR-script": (pytest.approx(100 / 3), 3), "CSR-words": (pytest.approx(100 / 8), 3),
        "CSR-window": (pytest.approx(math.nan, nan_ok=True), 0),
    }  # fmt: skip
    off = rates(outputs, "en-ru", label="bg")
    assert all(math.isnan(value) and n == 0 for value, n in off.values())


@pytest.mark.parametrize("direction", ["it-nl", "en-ru", "en-zh", "nl-ja", "en-th", "ko-en"])
def test_the_names_of_the_rates_are_known_without_computing_them(direction):
    found = list(rates(["一 één слово"], direction))
    assert found == switching_metrics(direction)
    assert set(found) <= set(SWITCHING_METRICS)
    assert ("CSR-window" in found) == (direction not in ("en-zh", "nl-ja", "en-th"))
    own = off_target_metrics(direction)
    names = detection_metrics(direction, ["other"])
    assert names == [*own, *found, "OTR:other", "agreement:other"]


def test_every_script_of_a_language_is_one_of_unicode():
    codes = {code.split("_")[0] for code in get_global("likely_subtags")} | set(table())
    scripts = {found.script for code in codes if (found := find_language(code))}
    assert len(scripts) > 50
    for code in codes:
        if find_language(code):
            assert scripts_of(code)
    with pytest.raises(InputError, match="`nl-Moon`: Unicode has no letters of the script Moon"):
        scripts_of("nl-Moon")
