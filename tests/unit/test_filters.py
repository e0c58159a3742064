"""Filters of catalogue texts."""

import pytest

from workflow_scripts.lat.data import filters
from workflow_scripts.lat.data.filters import CatalogueRow, Limits, clean, count_words, normalise, run_filters, width

LANGUAGES = ["en", "it", "nl", "ro"]


class FakeIdentifier:
    """A language identifier that returns given labels."""

    def __init__(self, labels: dict[str, tuple[str, float]]) -> None:
        self.labels = labels

    def identify(self, lines):
        return [self.labels[line] for line in lines]


def agreeing(rows, **others):
    labels: dict[str, tuple[str, float]] = {}
    for row in rows:
        for code, text in row.texts.items():
            labels.setdefault(text, (code, 1.0))
    return FakeIdentifier(labels | others)


class TestText:
    def test_clean_gives_one_spelling(self):
        assert clean("re\u0301sume\u0301\u00a0 \u200bof it\u2019s\n", "en") == "résumé of it's"
        assert clean("Şi ţara fără ş", "ro") == "Și țara fără ș"
        assert clean("Şehir", "en") == "Şehir"

    def test_normalise_is_equal_for_texts_that_a_reader_calls_the_same(self):
        assert normalise("Is IT «done», or  not?") == normalise("is it done or not") == "isitdoneornot"
        assert normalise("Straße") == normalise("STRASSE")
        assert normalise("Sì") != normalise("Si")
        assert normalise("文件。") == "文件"

    def test_words_and_width_of_scripts_without_spaces(self):
        assert count_words("Save the file") == 3
        assert count_words("文件已保存") == 3
        assert count_words("Python 文件") == 2
        assert count_words("파일을 저장") == 3
        assert width("Save") == 4
        assert width("文件") == 5


@pytest.mark.parametrize(
    "text",
    [
        "Hello {name}",
        "{count, plural, one {# file} other {# files}}",
        "Delete %s now",
        "Delete %(name)s now",
        "Page %1$s of %2$s",
        "%d files",
        "%-5.2f seconds",
        "100%% done",
        "Go to ${url}",
        "Go to $url",
        "&File menu",
        "Save &amp; close",
        "_Open file",
        "The entity_id of it",
        "See [%key:common%]",
        "Ask @admin",
        "Read :ref: first",
    ],
)
def test_placeholders(text):
    assert filters.has_placeholder(text, "en")


@pytest.mark.parametrize(
    "text",
    ["It costs $5 in all", "About 50% of them", "100 % sure", "The ratio is 3:2", "Time: 10:30", "R & D", "Done: yes"],
)
def test_no_placeholders(text):
    assert not filters.has_placeholder(text, "en")


@pytest.mark.parametrize(
    "text",
    [
        "Click <b>here</b>",
        "Click [here](address)",
        "Use `ls` now",
        "A **bold** word",
        "See https://example.org",
        "See www.example.org",
        "See example.org now",
        "Write to me@example.org",
        "Edit config.yaml first",
        "In /etc/hosts it is",
        "In the folder media/photos/new",
        "Run it with --force",
        "Call open() first",
        "Menu > File",
    ],
)
def test_markup(text):
    assert filters.has_markup(text, "en")


@pytest.mark.parametrize(
    "text", ["Yes and/or no", "e.g. this one", "Version 2.0 is out.", "A well-known word", "Add +1"]
)
def test_no_markup(text):
    assert not filters.has_markup(text, "en")


@pytest.mark.parametrize("text", ["Delete file(s)", "bestand(en) wissen", "utente/i attivi", "Ești sigur(ă)?"])
def test_optional_endings(text):
    assert filters.has_optional_ending(text, "en")


@pytest.mark.parametrize("text", ["Delete files (all)", "e/o questo", "en/of dat", "Name (optional)"])
def test_no_optional_endings(text):
    assert not filters.has_optional_ending(text, "en")


@pytest.mark.parametrize("text", ["1920 x 1080 50 Hz", "--- Clear ---", "Ready \U0001f600 now", "5 - 10%"])
def test_not_prose(text):
    assert filters.is_not_prose(text, "en")


@pytest.mark.parametrize("text", ["Save the file.", "Add 2 more files", "文件已保存", "Ştergeți fișierul"])
def test_prose(text):
    assert not filters.is_not_prose(text, "en")


@pytest.mark.parametrize(
    ("english", "text", "extreme"),
    [
        ("Save the file", "Salva il file", False),
        ("Open it", "Aprilo", False),
        ("Are you absolutely sure about it?", "Sigur?", True),
        ("Actions", "Acțiunile disponibile pentru elementul de conținut curent", True),
        ("The file could not be saved.", "文件无法保存。", False),
        ("The file could not be saved because the disk is full.", "文件", True),
    ],
)
def test_length_ratio(english, text, extreme):
    assert filters.has_extreme_ratio(english, text, "it") is extreme


def test_numbers():
    assert filters.has_other_numbers("Wait 10 minutes", "Attendi 20 minuti", "it")
    assert filters.has_other_numbers("Wait ten minutes", "Attendi 10 minuti", "it")
    assert not filters.has_other_numbers("At most 1,000 in 2 days", "In 2 giorni 1.000 al massimo", "it")


class TestRun:
    def run(self, *rows, origins=None, **labels):
        origins = origins or ["program"] * len(rows)
        catalogue_rows = [CatalogueRow(origin, dict(row)) for origin, row in zip(origins, rows, strict=True)]
        kept, counts = run_filters(catalogue_rows, LANGUAGES, Limits(3, 12), agreeing(catalogue_rows, **labels))
        return [row.texts for row in kept], counts

    def test_an_unfit_text_leaves_the_pairs_of_other_languages(self):
        row = {
            "en": "Save the new file",
            "it": "Salva {file} nuovo",
            "nl": "Bewaar het bestand",
            "ro": "Save the new file",
        }
        rows, counts = self.run(row)
        assert rows == [{"en": "Save the new file", "nl": "Bewaar het bestand"}]
        dropped = {entry.filter: entry.dropped for entry in counts if entry.source == "program" and entry.dropped}
        assert dropped == {"placeholder": 1, "untranslated": 1}

    def test_an_unfit_english_text_drops_the_row(self):
        rows, _ = self.run(
            {"en": "Save {name}", "it": "Salva il file nuovo"},
            {"en": "Save it", "it": "Salvalo in questo momento"},
            {"en": "one two three " * 5, "it": "uno due tre"},
        )
        assert rows == []

    def test_limits_are_inclusive(self):
        rows, _ = self.run(
            {"en": "one two three"}, {"en": "one" + " more" * 11}, {"en": "two three four", "it": "due" + " più" * 12}
        )
        assert rows == [{"en": "one two three"}, {"en": "one" + " more" * 11}, {"en": "two three four"}]

    def test_identification_must_agree_from_four_words_on(self):
        long = {"en": "Save the new file", "it": "Bewaar het nieuwe bestand"}
        short = {
            "en": "Save new file",
            "it": "Salva nuovo file",
            "nl": "Bewaar nieuw bestand",
            "ro": "Salvează fișier nou",
        }
        rows, _ = self.run(
            long,
            short,
            **{
                "Bewaar het nieuwe bestand": ("nl", 0.2),
                "Salva nuovo file": ("en", 0.9),
                "Bewaar nieuw bestand": ("de", 0.9),
                "Salvează fișier nou": ("it", 0.3),
            },
        )
        # A short text is dropped only if another language of the benchmark is probable; German is not in the benchmark.
        assert rows == [
            {"en": "Save the new file"},
            {"en": "Save new file", "nl": "Bewaar nieuw bestand", "ro": "Salvează fișier nou"},
        ]

    def test_of_two_rows_the_one_with_more_languages_stays(self):
        rows, _ = self.run(
            {"en": "Save the file", "it": "Salva il file"},
            {"en": "Save the file!", "it": "Salva il file!", "nl": "Bewaar het bestand!"},
            {"en": "save the file", "it": "salva file", "nl": "sla bestand op"},
            origins=["first", "second", "third"],
        )
        assert rows == [{"en": "Save the file!", "it": "Salva il file!", "nl": "Bewaar het bestand!"}]

    def test_texts_without_their_accents_are_dropped(self):
        good = [{"en": f"Save the file now {word}", "ro": f"Salvați fără {word}"} for word in "abcdefgh"]
        bad = {"en": "Close it without saving", "ro": "Inchide fara a salva"}
        fine = {"en": "Close it and save", "ro": "Închide fara a salva"}
        rows, _ = self.run(*good, bad, fine)
        assert {"en": "Close it without saving"} in rows
        assert fine in rows
        assert all(row in rows for row in good)

    def test_counts_add_up_by_source_and_in_all(self):
        rows = [
            {"en": "Save the file", "it": "Salva il file", "nl": "Bewaar het bestand", "ro": "Salvează fișierul"},
            {"en": "Save {file} now", "it": "Salva {file} ora"},
            {"en": "Wait 10 minutes please", "it": "Attendi 20 minuti", "nl": "Wacht 10 minuten"},
            {"en": "Save the file", "it": "Salva il file"},
        ]
        kept, counts = self.run(*rows, origins=["a", "a", "b", "b"])
        names = list(dict.fromkeys(entry.filter for entry in counts))
        assert names[0] == "extracted" and names[-1] == "duplicate"
        for name, before in zip(names[1:], names, strict=False):
            for source in ("a", "b", "all"):
                entry = next((entry for entry in counts if (entry.source, entry.filter) == (source, name)), None)
                previous = next(entry for entry in counts if (entry.source, entry.filter) == (source, before))
                assert entry is not None and entry.kept + entry.dropped == previous.kept
        last = counts[-1]
        assert (last.source, last.kept, last.complete) == ("all", sum(len(row) - 1 for row in kept), 1)
