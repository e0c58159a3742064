"""Test set, demonstrations and training data drawn from filtered rows."""

import random
from collections import Counter
from types import SimpleNamespace

import pytest

from workflow_scripts.lat.data.filters import CatalogueRow, normalise
from workflow_scripts.lat.data.splits import (
    MAX_SHARE_PER_SOURCE,
    MIN_JACCARD,
    HeldOut,
    Sizes,
    apportion,
    draw_training,
    monolingual,
    split,
    words_of,
)
from workflow_scripts.lat.files import InputError

LANGUAGES = ["en", "it", "nl"]
SUPERVISED = ["en-it", "it-en", "en-nl", "nl-en"]
SIZES = Sizes(test_rows=12, test_min_words=6, demonstrations=3)

SYLLABLES = ["ba", "ke", "li", "mo", "nu", "sa", "te", "vi"]


def word(number: int, language: str) -> str:
    return "".join(SYLLABLES[number // 8**place % 8] for place in range(4)) + language


def sentence(numbers: list[int], language: str) -> str:
    return " ".join(word(number, language) for number in numbers).capitalize() + "."


def row(numbers: list[int], languages: list[str] = LANGUAGES) -> dict[str, str]:
    return {language: sentence(numbers, language) for language in languages}


@pytest.fixture(scope="module")
def samples() -> list[CatalogueRow]:
    """Rows of random words from three sources; every third row lacks a language, every fifth is short."""
    generator = random.Random(0)
    samples = []
    for number in range(400):
        length = 5 if number % 5 == 0 else generator.randint(6, 14)
        languages = ["en", "nl"] if number % 3 == 0 else LANGUAGES
        origin = ["large", "large", "large", "middle", "small"][number % 5]
        samples.append(CatalogueRow(origin, row([generator.randrange(8**4) for _ in range(length)], languages)))
    return samples


def texts(splits) -> tuple[set[str], set[str], set[str]]:
    """Return the normalised texts of the test set, of the demonstrations and of all training data."""
    test = {normalise(text) for sample in splits.test for text in sample.texts.values()}
    demonstrations = {normalise(text) for sample in splits.demonstrations for text in sample.texts.values()}
    training = {normalise(pair[side]) for pair in splits.train for side in ("source", "target")}
    training |= {normalise(line["text"]) for line in splits.monolingual}
    return test, demonstrations, training


def run(samples, sizes=SIZES, supervised=SUPERVISED, seed=1, train_rows=0, split_seed=1):
    """Divide rows, draw training samples, and return all parts together."""
    splits = split(samples, LANGUAGES, sizes, split_seed)
    train, used = draw_training(splits.training, supervised, train_rows, seed)
    return SimpleNamespace(
        **vars(splits), train=train, used=used, monolingual=monolingual(splits.training, LANGUAGES, split_seed)
    )


class TestLeaks:
    def test_no_text_is_in_two_parts(self, samples):
        test, demonstrations, training = texts(run(samples))
        assert test and demonstrations and training
        assert not test & demonstrations and not test & training and not demonstrations & training

    def test_rows_that_repeat_held_out_texts_are_found(self, samples):
        """Every added row (trap) repeats a held-out text in a form that a comparison of lines would miss."""
        clean = run(samples)
        held_out = [sample.texts for sample in [*clean.test, *clean.demonstrations]]
        other = iter(range(2000, 4000, 10))

        def numbers() -> list[int]:
            start = next(other)
            return list(range(start, start + 8))

        traps = []
        for held in held_out:
            traps += [
                # The Italian text repeats the held-out one, the English text is new.
                {"en": sentence(numbers(), "en"), "it": held["it"].upper(), "nl": sentence(numbers(), "nl")},
                {"en": sentence(numbers(), "en"), "nl": held["nl"].replace(" ", " - ").removesuffix(".")},
                # The English text alone, in another form; it could only leak into the monolingual texts.
                {"en": f"«{held['en'].lower()}»"},
                # A longer text that contains the held-out one.
                {"en": sentence(numbers(), "en"), "nl": f"{sentence(numbers(), 'nl')} {held['nl']}"},
                {"en": f"{held['en']} {sentence(numbers(), 'en')}"},
            ]
        # Traps must not be drawn for the test set themselves: they lack a language or do not end like a sentence.
        traps = [trap | {"it": "no sentence"} if "it" in trap and len(trap) == 3 else trap for trap in traps] + [
            {"en": sentence(numbers(), "en"), "it": held["it"].upper()} for held in held_out
        ]
        splits = run([*samples, *(CatalogueRow("trap", trap) for trap in traps)])
        assert [sample.texts for sample in [*splits.test, *splits.demonstrations]] == held_out
        test, demonstrations, training = texts(splits)
        assert not (test | demonstrations) & training
        assert not any(held in text for held in test for text in training)
        assert len(texts(clean)[2]) <= len(training)

    def test_variants_of_a_test_sentence_are_found(self, samples):
        clean = run(samples)
        variants = []
        for sample in clean.test:
            words = sample.texts["en"].split()
            variants.append({"en": " ".join([*words[:-1], "otherword."]), "it": "Qualcosa di diverso."})
        splits = run([*samples, *(CatalogueRow("trap", variant) for variant in variants)])
        trained = [words_of(line["text"]) for line in splits.monolingual if line["language"] == "en"]
        for sample in splits.test:
            words = words_of(sample.texts["en"])
            assert all(len(words & other) < MIN_JACCARD * len(words | other) for other in trained)

    def test_short_held_out_texts_are_only_compared_with_whole_texts(self):
        held_out = HeldOut([{"en": "Would you like to go on?", "it": "Sì."}])
        assert held_out.touches({"en": "It has been saved.", "it": "sì!"})
        assert not held_out.touches({"en": "It has been saved.", "it": "Sì, fatto."})

    def test_the_index_finds_the_same_rows_as_a_full_search(self):
        generator = random.Random(1)
        vocabulary = [word(number, "en") for number in range(12)]
        rows = [{"en": " ".join(generator.choices(vocabulary, k=generator.randint(1, 8)))} for _ in range(300)]
        held, others = rows[:20], rows[20:]
        found = HeldOut(held)
        sets = [words_of(row["en"]) for row in held]
        for other in others:
            words = words_of(other["en"])
            variant = any(len(words & one) >= MIN_JACCARD * len(words | one) for one in sets)
            repeats = any(
                normalise(one["en"]) == normalise(other["en"])
                or (len(normalise(one["en"])) >= 12 and normalise(one["en"]) in normalise(other["en"]))
                for one in held
            )
            assert found.touches(other) == (variant or repeats)


class TestTest:
    def test_rows_qualify(self, samples):
        splits = run(samples)
        assert len(splits.test) == SIZES.test_rows
        for sample in splits.test:
            assert list(sample.texts) == LANGUAGES
            assert len(sample.texts["en"].split()) >= SIZES.test_min_words
        for language in LANGUAGES:
            assert len({normalise(sample.texts[language]) for sample in splits.test}) == SIZES.test_rows

    def test_only_sentences_are_drawn(self, samples):
        broken = [
            CatalogueRow("large", sample.texts | {"nl": change(sample.texts["nl"])})
            for sample in samples
            if "it" in sample.texts
            for change in (
                str.lower,
                lambda text: text.removesuffix("."),
                lambda text: text + "..",
                lambda text: "(" + text,
            )
        ]
        with pytest.raises(InputError, match="test_rows: 12 wanted, 0 rows qualify"):
            run(broken)

    def test_every_source_is_in_the_test_set(self, samples):
        origins = Counter(sample.origin for sample in run(samples).test)
        assert set(origins) == {"large", "middle", "small"}

    def test_demonstrations_come_from_different_sources(self, samples):
        splits = run(samples)
        assert len({sample.origin for sample in splits.demonstrations}) == 3
        assert all(5 <= len(sample.texts["en"].split()) <= 12 for sample in splits.demonstrations)

    def test_too_few_rows_are_an_error(self, samples):
        with pytest.raises(InputError, match="test_rows: 1000 wanted"):
            run(samples, Sizes(1000, 6, 3))
        with pytest.raises(InputError, match="demonstrations: 1000 wanted"):
            run(samples, Sizes(12, 6, 1000))


class TestApportion:
    @pytest.mark.parametrize("size", [1, 7, 50, 100])
    def test_numbers_add_up_and_keep_the_limits(self, size):
        available = Counter(a=500, b=120, c=60, d=40, e=7)
        numbers = apportion(available, size)
        assert sum(numbers.values()) == size
        assert all(numbers[source] <= available[source] for source in available)
        assert all(numbers[source] <= max(1, MAX_SHARE_PER_SOURCE * size) for source in available)

    def test_the_limit_is_lifted_if_other_sources_have_too_few_rows(self):
        assert apportion(Counter(a=30, b=1), 20) == Counter(a=19, b=1)


class TestTraining:
    def test_directions_are_supervised_and_of_one_size(self, samples):
        splits = run(samples)
        sizes = Counter(pair["direction"] for pair in splits.train)
        assert set(sizes) == set(SUPERVISED)
        assert len(set(sizes.values())) == 1
        rows = {sample.texts["en"]: sample.texts for sample in samples}
        for pair in splits.train:
            source, target = pair["direction"].split("-")
            english = pair["source"] if source == "en" else pair["target"]
            assert pair["source"] == rows[english][source] and pair["target"] == rows[english][target]

    def test_train_rows_limits_each_direction(self, samples):
        splits = run(samples, train_rows=20)
        assert Counter(pair["direction"] for pair in splits.train) == dict.fromkeys(SUPERVISED, 20)
        # Complete rows come first, so that the directions share them.
        assert len({pair["source"] for pair in splits.train if pair["direction"].startswith("en-")}) == 20

    def test_more_rows_than_a_direction_has_are_an_error_with_both_numbers(self, samples):
        every = run(samples, supervised=["it-en"]).train
        more = len(run(samples, supervised=["en-nl"]).train)
        assert len(every) < more
        with pytest.raises(
            InputError,
            match=rf"train_rows: {more} wanted, {len(every)} pairs are left for en-it; lower it to {len(every)}",
        ):
            run(samples, train_rows=more)
        splits = run(samples, train_rows=len(every))
        assert Counter(pair["direction"] for pair in splits.train) == dict.fromkeys(SUPERVISED, len(every))

    def test_directions_and_sources_are_mixed(self, samples):
        train = run(samples).train
        assert len({pair["direction"] for pair in train[:20]}) == len(SUPERVISED)

    def test_directions_need_not_have_english(self, samples):
        splits = run(samples, supervised=["it-nl"])
        assert {pair["direction"] for pair in splits.train} == {"it-nl"}

    def test_a_direction_without_pairs_is_an_error(self, samples):
        with pytest.raises(InputError, match="direction ro-en: no source has a pair"):
            run(samples, supervised=["ro-en"])

    def test_monolingual_texts_are_distinct_and_include_those_without_translation(self, samples):
        splits = run([*samples, CatalogueRow("small", {"en": "An English text alone."})])
        assert {"language": "en", "text": "An English text alone."} in splits.monolingual
        assert len({tuple(line.values()) for line in splits.monolingual}) == len(splits.monolingual)


class TestChoice:
    def test_the_order_of_the_rows_changes_nothing(self, samples):
        shuffled = random.Random(3).sample(samples, len(samples))
        one, other = run(samples), run(shuffled)
        assert (one.test, one.demonstrations) == (other.test, other.demonstrations)
        assert (one.train, one.monolingual) == (other.train, other.monolingual)

    def test_another_split_seed_chooses_another_test_set(self, samples):
        one, other = run(samples), run(samples, split_seed=2)
        assert one.test != other.test and one.demonstrations != other.demonstrations

    def test_another_seed_draws_other_training_samples_and_nothing_else(self, samples):
        one, other = run(samples, train_rows=20), run(samples, train_rows=20, seed=2)
        parts = ("test", "demonstrations", "training", "monolingual")
        assert all(getattr(one, part) == getattr(other, part) for part in parts)
        assert {pair["source"] for pair in one.train} != {pair["source"] for pair in other.train}

    def test_counts_add_up(self, samples):
        splits = run(samples)
        entries = [entry for entry in splits.counts if entry.source == "all"]
        assert [entry.filter for entry in entries] == ["test", "demonstrations", "touches_held_out"]
        kept = sum(len(sample.texts) - 1 for sample in samples)
        for entry in entries:
            assert entry.kept + entry.dropped == kept
            kept = entry.kept
        assert entries[0].dropped == SIZES.test_rows * (len(LANGUAGES) - 1)
        assert entries[-1].kept == sum(len(sample.texts) - 1 for sample in splits.training)
        assert 2 * sum(len(sample.texts) - 1 for sample in splits.used) == len(splits.train)
