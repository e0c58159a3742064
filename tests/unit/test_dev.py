"""Lines of dev directions are held out of everything else, and mistakes in the config are named before any job."""

import json

import pytest

from tests.conftest import ROOT
from tests.unit.configs import load_config, overlay
from workflow_scripts import download
from workflow_scripts.lat.config import candidate_steps, card_facts, check_config, saved_steps, zero_shot_of
from workflow_scripts.lat.data.corpora import Pair
from workflow_scripts.lat.data.dev import draw_pairs, hold_out_rows, without_texts
from workflow_scripts.lat.data.filters import CatalogueRow, normalise
from workflow_scripts.lat.files import InputError, read_jsonl, read_lines, read_table

LANGUAGES = ["en", "it", "nl", "ro"]
NUMBERS = ("uno", "due", "tre", "quattro", "cinque", "sei", "sette", "otto", "nove", "dieci")


def text(number: int, language: str) -> str:
    """A sentence of eight words, of which no two sentences share more than the last."""
    words = [f"{NUMBERS[number % 10]}{number}{place}{language}" for place in range(7)]
    return " ".join([*words, "fine"]).capitalize() + "."


def rows(count: int, languages=LANGUAGES) -> list[CatalogueRow]:
    return [
        CatalogueRow(f"source{number % 4}", {code: text(number, code) for code in languages}) for number in range(count)
    ]


# Rows of catalogues.


def test_rows_are_drawn_by_the_seed_and_only_in_the_languages_of_the_directions():
    pool = [*rows(20), *(CatalogueRow("other", {"en": text(number, "en")}) for number in range(20, 40))]
    pool += [
        CatalogueRow("more", {code: text(number, code) for code in ("en", "it", "nl")}) for number in range(40, 60)
    ]
    drawn, rest = hold_out_rows(pool, ["it-nl"], 30, 6, seed=1)
    assert len(drawn) == 30 and all({"it", "nl"} <= set(row.texts) for row in drawn)
    assert any("ro" not in row.texts for row in drawn)
    assert len(rest) == 30 and not {id(row) for row in drawn} & {id(row) for row in rest}
    assert hold_out_rows(list(reversed(pool)), ["it-nl"], 30, 6, seed=1)[0] == drawn
    assert hold_out_rows(pool, ["it-nl"], 30, 6, seed=2)[0] != drawn


def test_rows_that_say_the_same_as_a_dev_line_are_no_training_rows():
    drawn, _ = hold_out_rows(rows(20), ["it-nl"], 8, 6, seed=1)
    # They lack a language, so that they are not drawn themselves.
    traps = [CatalogueRow("trap", {"en": f"{row.texts['en']} And something more.", "it": "Altro."}) for row in drawn]
    traps += [CatalogueRow("trap", {"en": text(900 + place, "en"), "it": row.texts["it"].upper()})
              for place, row in enumerate(drawn)]  # fmt: skip
    again, rest = hold_out_rows([*rows(20), *traps], ["it-nl"], 8, 6, seed=1)
    assert again == drawn and len(rest) == 12 and not any(row.origin == "trap" for row in rest)


def test_too_few_rows_are_one_line():
    with pytest.raises(
        InputError, match="it-nl: 9 rows wanted, 8 rows in en it nl qualify; lower `sentences`"
    ) as caught:
        hold_out_rows(rows(8), ["it-nl"], 9, 6, seed=1)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="0 rows in en it nl qualify"):
        hold_out_rows(rows(8), ["it-nl"], 5, 9, seed=1)


def run(*words):
    download.main(list(map(str, words)))


def test_the_files_of_catalogues(tmp_path):
    pool = tmp_path / "pool.jsonl"
    pool.write_text("".join(json.dumps(vars(row)) + "\n" for row in rows(20)))
    words = ["--pool", pool, "--languages", *LANGUAGES, "--min-words", 6, "--monolingual", tmp_path / "mono.jsonl"]
    words += ["--directions", "it-nl", "nl-ro", "--sentences", 7, "--seed", 1, "--dev", tmp_path / "dev"]
    run("hold-out-rows", *words, "--rest", tmp_path / "rest.jsonl", "--counts", tmp_path / "dev.tsv")
    names = {f"{direction}.{side}.txt" for direction in ("it-nl", "nl-ro") for side in ("src", "ref")}
    dev = {path.name: read_lines(path) for path in (tmp_path / "dev").iterdir()}
    assert set(dev) == names and all(len(lines) == 7 for lines in dev.values())
    assert dev["it-nl.ref.txt"] == dev["nl-ro.src.txt"]
    rest = read_jsonl(tmp_path / "rest.jsonl")
    assert len(rest) == 13
    monolingual = {row["text"] for row in read_jsonl(tmp_path / "mono.jsonl")}
    assert monolingual == {found for row in rest for found in row["texts"].values()}
    assert not monolingual & {line for lines in dev.values() for line in lines}
    counts = {row["source"]: row for row in read_table(tmp_path / "dev.tsv")}["all"]
    assert (counts["filter"], counts["dropped"], counts["kept"]) == ("dev", "21", "39")


# Pairs of corpora.


def pairs(direction: str, numbers) -> list[Pair]:
    source, target = direction.split("-")
    return [Pair(text(number, source), text(number, target)) for number in numbers]


def test_pairs_are_the_same_lines_in_all_directions_and_none_of_the_others():
    corpora = {direction: pairs(direction, range(10)) for direction in ("it-nl", "ro-it")}
    corpora["it-nl"][4] = Pair(corpora["it-nl"][4].source, "")
    others = {"en-it": pairs("en-it", [2]), "nl-en": pairs("nl-en", [3])}
    drawn = draw_pairs(corpora, others, 4, seed=1)
    assert len(drawn["it-nl"]) == len(drawn["ro-it"]) == 4
    numbers = {text(number, "it"): number for number in range(10)}
    assert not {numbers[pair.source] for pair in drawn["it-nl"]} & {2, 3, 4}
    # Line 3 is held out as a Dutch text only.
    assert 2 not in {numbers[pair.target] for pair in drawn["ro-it"]}
    assert draw_pairs(corpora, others, 4, seed=2) != drawn
    with pytest.raises(InputError, match="dev direction it-nl: 8 pairs wanted, 7 of the 10 pairs in the corpora"):
        draw_pairs(corpora, others, 8, seed=1)


def test_training_pairs_with_a_dev_text_are_dropped_and_counted():
    train = {
        "en-it": [*pairs("en-it", range(5)), Pair("Thanks.", "Grazie."), Pair("", "")],
        "nl-en": pairs("nl-en", [1, 7]),
    }
    dev = {"it-nl": [*pairs("it-nl", [1, 3]), Pair("Grazie.", "Dank je.")]}
    kept, counts = without_texts(train, dev)
    assert kept == {"en-it": [train["en-it"][place] for place in (0, 2, 4, 5, 6)], "nl-en": train["nl-en"][1:]}
    assert [(row["direction"], row["filter"], row["dropped"], row["kept"]) for row in counts] == [
        ("en-it", "touches_dev", 2, 5), ("nl-en", "touches_dev", 1, 1)
    ]  # fmt: skip


@pytest.mark.parametrize("first", [False, True])
def test_the_dev_lines_of_corpora_are_no_demonstrations_and_no_test_lines(tmp_path, first):
    supervised, zero_shot, directions = ["en-it", "it-en", "en-nl", "nl-en"], ["nl-it"], ["it-nl"]
    corpora = {"train": range(30), "test": range(30, 36), "demonstrations": range(20, 40)}
    for role, numbers in corpora.items():
        (tmp_path / role).mkdir()
        for direction in [*supervised, *zero_shot, *directions]:
            download.write_pairs(tmp_path / role, direction, pairs(direction, numbers))
    flags = [word for role in corpora for word in (f"--{role}-corpora", tmp_path / role)]
    flags += ["--supervised", *supervised, "--zero-shot", *zero_shot, "--demonstrations", 3, "--seed", 1]
    flags += ["--first-demonstrations"] * first
    run("hold-out-pairs", *flags, "--directions", *directions, "--sentences", 8,
        "--dev", tmp_path / "dev", "--rest", tmp_path / "rest", "--counts", tmp_path / "dev.tsv")  # fmt: skip
    flags[flags.index("--train-corpora") + 1] = tmp_path / "rest"
    run("assemble", *flags, "--train-rows", 0, "--monolingual", tmp_path / "mono.jsonl",
        "--test-folder", tmp_path / "out/test", "--demonstrations-folder", tmp_path / "out/shown",
        "--filters", tmp_path / "filters.tsv", "--filter-counts", tmp_path / "dev.tsv")  # fmt: skip
    dev = read_lines(tmp_path / "dev/it-nl.src.txt")
    assert len(dev) == 8
    shown = [row["target"] for row in read_jsonl(tmp_path / "out/shown/en-it.jsonl")]
    assert len(shown) == 3
    test = read_lines(tmp_path / "out/test/en-it.ref.txt")
    training = [row["text"] for row in read_jsonl(tmp_path / "mono.jsonl")]
    for others in (shown, test, training):
        assert not set(map(normalise, dev)) & set(map(normalise, others))
    # Lines 20 to 29 are in the training text and among those that demonstrations and dev lines are drawn from.
    dropped = {row["direction"]: int(row["dropped"]) for row in read_table(tmp_path / "filters.tsv")
               if row["filter"] == "touches_dev"}  # fmt: skip
    assert set(dropped) == set(supervised) and 0 < dropped["en-it"] <= 8


# The config.

BEST = """
benchmarks: {demo: {dev: {directions: [it-nl, ro-it], sentences: 20}}}
models: {lat-best: {stage: snapshot, from: lat, step: best, every: 30}}
systems: {LAT-best: {model: lat-best}}
experiments: [{base_model: tiny, benchmark: demo, systems: [MT, LAT-best]}]
add_systems: []
"""


@pytest.fixture
def config():
    config = load_config()
    overlay(BEST)(config)
    return config


def test_dev_directions_are_not_tested_and_steps_are_those_of_every(config):
    for _ in range(2):  # Jobs check the config again.
        check_config(config, ROOT)
        assert zero_shot_of(config["benchmarks"]["demo"]) == ["nl-it", "it-ro", "nl-ro", "ro-nl"]
        assert candidate_steps(config, "tiny", "demo", "lat-best") == [30, 60, 90, 100]
    # The model after the last step is no snapshot.
    assert saved_steps(config, "tiny", "demo", "lat") == [30, 60, 90]
    overlay("""
        models: {lat-60: {stage: snapshot, from: lat, step: 60}, lat-100: {stage: snapshot, from: lat, step: 100}}
        systems: {LAT-60: {model: lat-60}, LAT-100: {model: lat-100}}
        add_systems: [LAT-60, LAT-100]
    """)(config)
    check_config(config, ROOT)
    assert saved_steps(config, "tiny", "demo", "lat") == [30, 60, 90, 100]
    assert saved_steps(config, "tiny", "iwslt4", "lat") == saved_steps(config, "tiny", "demo", "mt") == []


def test_the_last_step_is_compared_once(config):
    overlay("{models: {lat-best: {every: 50}}}")(config)
    check_config(config, ROOT)
    assert candidate_steps(config, "tiny", "demo", "lat-best") == [50, 100]


def test_a_card_says_what_the_step_was_chosen_by(config):
    overlay("publish: {model: lat-best, licence: mit}")(config)
    check_config(config, ROOT)
    facts = card_facts(config)
    training = facts["trainings"][-1]
    assert (training["model"], training["snapshot"], training["dev"]) == ("lat", "best", ["it-nl", "ro-it"])
    assert "it-nl" not in facts["zero_shot"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "benchmarks: {demo: {dev: {directions: [it-ln]}}}",
            r"benchmarks.demo.dev.directions: `it-ln` is not among the zero-shot .*; did you mean `it-nl`\?",
        ),
        ("benchmarks: {demo: {dev: {directions: [en-it]}}}", "`en-it` is not among the zero-shot directions"),
        ("benchmarks: {demo: {dev: {directions: []}}}", "benchmarks.demo.dev.directions is empty; add an entry"),
        ("benchmarks: {demo: {dev: {direction: [it-nl]}}}", "unknown key `direction` in benchmarks.demo.dev"),
        ("benchmarks: {demo: {dev: {sentences: 0}}}", "benchmarks.demo.dev.sentences"),
        (
            "benchmarks: {demo: {zero_shot: [it-nl, ro-it]}}",
            "benchmarks.demo.dev.directions holds out all zero-shot directions, so that none is tested; leave one out",
        ),
        (
            "experiments: [{base_model: tiny, benchmark: iwslt4, systems: [MT, LAT-best]}]",
            r"experiments.0: `lat-best` has `step: best`, but benchmarks.iwslt4 has no directions to choose by; hold"
            r" zero-shot directions out, such as `dev: {directions: \[it-nl\]}`",
        ),
        (
            "models: {lat-best: {every: 100}}",
            "models.lat-best.every: 100 leaves only the last step of `lat`, which has 100 steps; lower it",
        ),
        (
            "base_models: {tiny: {unlikelihood: {steps: 30}}}",
            "experiments.0: `lat-best` has `every: 30`, but `lat` has only 30 steps there; lower it",
        ),
        ("models: {lat-best: {every: 0}}", "models.lat-best.every: 0 is less than"),
        ("models: {lat-best: {step: bset}}", "models.lat-best.step: .*bset.* is not allowed; write a number of"),
        ("models: {lat-best: {step: 20}}", "models.lat-best.every is for `step: best`; remove it"),
        (
            "models: {other: {stage: snapshot, from: lat, step: best}}",
            "models.other: `step: best` needs the number of steps between .*; add it, such as `every: 10`",
        ),
        (
            "models: {mt-best: {stage: snapshot, from: mt, step: best, every: 5}}",
            "models.mt-best: `step: best` is for snapshots of stage 2, and `mt` is a model of stage 1; write a number",
        ),
        (
            "models: {'lat-{step}': {stage: snapshot, from: lat, sweep: {step: [10, best]}}}",
            r"models.lat-{step}.sweep.step: `best` is not one of several steps; write a row of its own for it",
        ),
        (
            "models: {'best-{every}': {stage: snapshot, from: lat, step: best, sweep: {every: [10, 20]}}}",
            "models.best-{every}.sweep: `every` is not among the settings of the stage snapshot",
        ),
    ],
)  # fmt: skip
def test_mistakes_name_the_key_and_the_remedy(config, change, message):
    overlay(change)(config)
    with pytest.raises(InputError, match=message) as caught:
        check_config(config, ROOT)
    assert "\n" not in str(caught.value) and str(caught.value).startswith("config: ")


def test_conflicts_by_confusion_need_a_direction_that_is_not_held_out(config):
    overlay("""
        benchmarks: {demo: {supervised: [en-it, it-en, en-nl], zero_shot: [it-nl, nl-ro], dev: {directions: [it-nl]}}}
        models: {lat: {conflicts: confusion}}
    """)(config)
    with pytest.raises(InputError, match="`lat` has `conflicts: confusion`, but no zero-shot direction of demo begins"):
        check_config(config, ROOT)


def test_local_corpora_with_too_few_lines_are_refused_before_any_job(config, tmp_path):
    for name in ("configs", "resources"):
        (tmp_path / name).symlink_to(ROOT / name)
    for name, count in (("train", 3), ("test", 3), ("shown", 25)):
        for code in ("en", "it", "nl"):
            (tmp_path / f"{name}.{code}").write_text("a line\n" * count)
    overlay("""
        benchmarks:
          mine:
            languages: [en, it, nl]
            supervised: [en-it, it-en]
            zero_shot: [it-nl, nl-it]
            dev: {directions: [it-nl], sentences: 20}
            corpora: {train: {local: [train]}, test: {local: [test]}, demonstrations: {local: [shown]}}
            train_rows: 0
            demonstrations: 5
    """)(config)
    check_config(config, tmp_path)
    overlay("benchmarks: {mine: {dev: {sentences: 21}}}")(config)
    message = (
        "benchmarks.mine.dev.sentences: 5 demonstrations and 21 dev lines are wanted, but"
        " benchmarks.mine.corpora.demonstrations has 25 lines of it-nl; lower the numbers"
    )
    with pytest.raises(InputError, match=message):
        check_config(config, tmp_path)
