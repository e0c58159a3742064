"""The data of the HTML page: tables and examples of every seed; names, texts and captions are shown as they are."""

import base64
import dataclasses
import gzip
import html
import json
import re

import jinja2
import pytest
from docutils.core import publish_parts
from made_up import SYSTEMS, make_experiment, make_results
from test_formats import HOSTILE

from tests.conftest import ROOT
from workflow_scripts.lat.evaluation.offtarget import ClassifiedLine, Verdict
from workflow_scripts.lat.files import InputError, write_lines
from workflow_scripts.lat.reporting.charts import study_figure
from workflow_scripts.lat.reporting.formats import Cell, Table
from workflow_scripts.lat.reporting.page import (
    Outputs,
    best_and_runner_up,
    describe_experiment,
    example_packs,
    inline_svg,
    read_texts,
    render,
    table_of,
    table_packs,
    text_bytes,
    write_examples,
)
from workflow_scripts.lat.reporting.reading import Experiment, Lines

CAPTIONS = ROOT / "resources" / "captions"
TAGS = r"</?(?:a|b|script|style|table|thead|tbody|tr|th|td|h[1-4]|p|em|strong|code|pre|div|figcaption)\b[^>]*>"


@pytest.mark.parametrize("text", HOSTILE)
def test_the_page_shows_every_text_itself(text):
    cells = [Cell(text), Cell(text, bold=True, marked=True)]
    page = render(
        conclusions=[text],
        title=text,
        summary=text,
        seeds=["1", "2"],
        notes=[text],
        tables=[table_of(Table(text, [text, text], [cells], note=text)) | {"remark": text}],
        figures=[{"name": text, "svg": "", "caption": text}] * 2,
        signatures=[(text, text)],
        versions=[(text, text)],
        config=text,
        is_beside=True,
        packs={},
    )
    head, body = page.split("</head>")
    assert head.count(html.escape(text, quote=False)) + head.count(html.escape(text)) >= 1
    body = body[: body.index("<script")]
    unescaped = html.unescape(re.sub(TAGS, "", body))
    assert unescaped.count(text) >= 17
    assert "<script" not in body and "example.org>" not in body


def test_a_table_has_its_intervals_as_hints_and_negative_numbers_are_sorted_as_numbers():
    row = [Cell("LAT"), Cell("-12.5", spread=0.25, interval=(-13.0, -12.0)), Cell("< 0.001"), Cell("-")]
    (found,) = table_of(Table("t", ["System", "a", "b", "c"], [row]))["rows"]
    assert [cell["value"] for cell in found["cells"]] == [-12.5, 0.0, "-"]
    assert found["cells"][0]["hint"] == "95 % interval -13.0 to -12.0"
    assert [cell["interval"] for cell in found["cells"]] == ["[-13.0, -12.0]", "", ""]
    assert [cell["spread"] for cell in found["cells"]] == ["± 0.2", "", ""]


def test_ids_of_a_figure_are_prefixed_and_its_texts_are_not(tmp_path):
    label = 'id="a" url(#b) href="#c" </svg><script>'
    results = make_results([make_experiment("tiny", 1)])
    figure = study_figure(label, {}, results.scores, results.intervals, results.summary)
    figure.savefig(tmp_path / "figure.svg")
    svg = inline_svg(tmp_path / "figure.svg", 7, 'a "name" <b>')
    assert svg.startswith('<svg role="img" aria-label="a &#34;name&#34; &lt;b&gt;" ')
    assert html.unescape(svg).count(label) == 3 and "<script" not in svg
    ids = re.findall(r'<[^>]*\bid="([^"]*)"', svg)
    assert ids and all(name.startswith("f7-") for name in ids)
    targets = re.findall(r'<[^>]*(?:url\(#|href="#)([^")]*)', svg)
    assert targets and all(name in ids for name in targets)


@pytest.mark.parametrize("content", ["", "<svg ", "no figure"])
def test_a_file_that_is_no_whole_figure_is_refused(tmp_path, content):
    (tmp_path / "figure.svg").write_text(content)
    with pytest.raises(InputError, match=r"figure.svg: no whole SVG file; delete it and run again"):
        inline_svg(tmp_path / "figure.svg", 1, "a figure")


def test_texts_and_outputs_have_the_same_number_of_lines(tmp_path):
    write_lines(tmp_path / "it-nl.src.txt", ["uno", "due"])
    write_lines(tmp_path / "it-nl.ref.txt", ["een"])
    with pytest.raises(InputError, match="it-nl: 2 sources, 1 references; delete the folder and run again"):
        read_texts(tmp_path, ["it-nl"])
    write_lines(tmp_path / "it-nl.ref.txt", ["een", "twee"])
    texts = read_texts(tmp_path, ["it-nl"])
    experiment = Experiment("m", "b", {"MT": ("1",)}, {"it-nl": "zero-shot"})
    outputs = {("MT", "1"): make_outputs(tmp_path, ["een"])}
    with pytest.raises(InputError, match=r"it-nl\.txt: 1 lines for 2 sources; delete the folder and run again"):
        example_packs("0", experiment, texts, outputs)


def make_outputs(folder, lines) -> Outputs:
    """Write output lines from Italian to Dutch, of which all but the first are in Italian.

    The second identifier says that all lines are in Dutch.
    """
    write_lines(folder / "it-nl.txt", lines)
    first = ClassifiedLine("nl", 0.9, Verdict.TARGET, False)
    others = ClassifiedLine("it", 0.4567, Verdict.SOURCE, False)
    classified = {"it-nl": [first, *[others] * (len(lines) - 1)]}
    labels = {"py3langid": {"it-nl": ["nl"] * len(lines)}}
    return Outputs.of_lines(folder, Lines(folder / "lines.tsv", classified, labels))


def test_the_outputs_of_each_seed_are_a_pack_and_no_test_line_is_repeated(tmp_path):
    texts = {"it-nl": (["uno", "due"], ["een", "twee"])}
    runs = {"Base": ("shared",), "MT": ("1", "2")}
    experiment = Experiment("m", "b", runs, {"it-nl": "zero-shot"})
    outputs = {
        (system, run): make_outputs(tmp_path / system / run, [f"{system} {run}", "due"])
        for system, of_system in runs.items()
        for run in of_system
    }
    packs = example_packs("3", experiment, texts, outputs)
    end = [["nl", "it"], "ts", [90, 46], {"py3langid": [0, "nl"]}]
    assert packs == {
        "texts-3": [(["uno", "due"], ["een", "twee"])],
        "outputs-3-shared": [["Base", [[["Base shared", "due"], *end]]]],
        "outputs-3-1": [["MT", [[["MT 1", "due"], *end]]]],
        "outputs-3-2": [["MT", [[["MT 2", "due"], *end]]]],
    }
    assert json.dumps(packs).count("uno") == json.dumps(packs).count("twee") == 1
    assert describe_experiment(experiment, pair=("Base", "MT")) == {
        "folder": None,
        "name": "m on b",
        "systems": ["Base", "MT"],
        "pair": ["Base", "MT"],
        "seeds": ["1", "2"],
        "runs": ["shared", "1", "2"],
        "directions": [{"name": "it-nl", "supervision": "zero-shot"}],
    }


def test_examples_beside_the_page_are_those_of_the_page(tmp_path):
    """One file per direction, with the same lines as in a page with all examples."""
    directions = {"it-nl": "zero-shot", "en-nl": "supervised"}
    experiment = Experiment("m", "b", {"Base": ("shared",), "MT": ("1", "2")}, directions)
    texts = tmp_path / "test"
    outputs = {}
    for number, direction in enumerate(directions):
        write_lines(texts / f"{direction}.src.txt", [f"uno {number}", "due"])
        write_lines(texts / f"{direction}.ref.txt", ["een", f"twee </script> {number}"])
    for run in [("Base", "shared"), ("MT", "1"), ("MT", "2")]:
        folder = tmp_path / "/".join(run)
        for direction in directions:
            write_lines(folder / f"{direction}.txt", [f"{run} {direction}", "due"])
        labels = {key: ["nl", "it"] for key in directions}
        verdicts, percents = {"it-nl": "ts", "en-nl": "to"}, dict.fromkeys(directions, bytes([99, 50]))
        outputs[run] = Outputs(folder, labels, verdicts, percents, {"py3langid": labels})
    packs = example_packs("0", experiment, read_texts(texts, directions), outputs)
    write_examples(tmp_path / "examples", 0, experiment, texts, outputs)
    folder = tmp_path / "examples/m/b"
    assert sorted(path.name for path in folder.iterdir()) == ["en-nl.js", "it-nl.js"]
    for position, direction in enumerate(directions):
        text = (folder / f"{direction}.js").read_text()
        found = re.fullmatch(r"addPacks\((.*)\);\n", text)
        of_direction = {
            name: json.loads(gzip.decompress(base64.b64decode(packed))) for name, packed in json.loads(found[1]).items()
        }
        assert of_direction == {
            f"texts-0-{position}": [list(packs["texts-0"][position])],
            **{
                f"outputs-0-{position}-{run}": [
                    [system, [lines[position]]] for system, lines in packs[f"outputs-0-{run}"]
                ]
                for run in ("shared", "1", "2")
            },
        }
    assert describe_experiment(experiment, is_beside=True)["folder"] == ["examples", "m", "b"]
    # Both texts and the outputs of three runs; lines end with a line feed.
    size = sum(path.stat().st_size for path in tmp_path.rglob("*.txt"))
    assert text_bytes(texts, directions, [of_run.hypotheses for of_run in outputs.values()]) == size
    with pytest.raises(InputError, match=r"it-en\.src\.txt: cannot be read \(No such file or directory\); run again"):
        text_bytes(texts, ["it-en"], [])


def row_of(pack, title, system):
    """Return the text of the cells of a row, with bold numbers in stars."""
    (table,) = [table for table in pack["tables"] if table["title"].startswith(title)]
    (row,) = [row for row in table["rows"] if row["system"] == system]
    texts = [f"*{cell['text']}*" if cell["best"] else cell["text"] for cell in row["cells"]]
    return [text + cell["mark"] + cell["spread"] for text, cell in zip(texts, row["cells"], strict=True)]


def test_the_tables_of_a_seed_have_its_scores_and_those_of_shared_systems():
    results = make_results([make_experiment("tiny", 3)])
    packs = table_packs(results)
    assert list(packs) == ["tables-mean", "tables-1", "tables-2", "tables-3"]
    titles = [[table["title"] for table in pack["tables"]] for pack in packs.values()]
    assert len(titles[0]) == 6 and titles == titles[:1] * 4
    title = "Zero-shot directions, tiny on demo: BLEU"
    scores = results.scores[(results.scores.metric == "BLEU") & (results.scores.supervision == "zero-shot")]
    for seed in ("1", "2", "3"):
        run = scores[(scores.system == "LAT") & (scores.seed == seed)]
        cells = [re.sub("[*†]", "", text) for text in row_of(packs[f"tables-{seed}"], title, "LAT")]
        assert cells == [f"{value:.1f}" for value in [*run.value, run.value.mean()]]
        assert packs[f"tables-{seed}"]["tables"][0]["remark"] == f"Seed {seed} alone."
        base = row_of(packs[f"tables-{seed}"], title, "Base")
        assert base == row_of(packs["tables-mean"], title, "Base")
    (hint,) = {table["rows"][7]["cells"][0]["hint"] for table in packs["tables-2"]["tables"][:1]}
    value = scores[(scores.system == "LAT") & (scores.seed == "2")].value.iloc[0]
    assert hint == f"95 % interval {value - 1:.1f} to {value + 1:.1f}"


def test_marks_and_best_scores_are_those_of_the_shown_runs():
    experiment = Experiment(
        "tiny", "demo", {"MT": ("1", "2"), "PTL": ("1", "2"), "LAT": ("1", "2")}, {"it-nl": "zero-shot"}
    )
    results = make_results([experiment])
    values = {("MT", "1"): 20.0, ("MT", "2"): 20.0, ("PTL", "1"): 30.0, ("PTL", "2"): 21.0}
    values |= {("LAT", "1"): 25.0, ("LAT", "2"): 27.0}
    bleu = results.scores.metric == "BLEU"
    results.scores.loc[bleu, "value"] = [
        values[key] for key in zip(results.scores[bleu].system, results.scores[bleu].seed, strict=True)
    ]
    title = "Zero-shot directions, tiny on demo: BLEU"
    packs = table_packs(results)
    shown = {name: [row_of(pack, title, system)[0] for system in ("MT", "PTL", "LAT")] for name, pack in packs.items()}
    assert shown == {
        # PTL is significant in single runs only, and LAT in the mean only.
        "tables-mean": ["20.0± 0.0", "25.5± 6.4", "*26.0*†± 1.4"],
        "tables-1": ["20.0", "*30.0*†", "25.0"],
        "tables-2": ["20.0", "21.0†", "*27.0*"],
    }
    assert "Mean ± standard deviation over 2 training seeds" in packs["tables-mean"]["notes"][0]
    assert packs["tables-1"]["notes"] == [
        "Scores of the runs with seed 1; training variance is not covered.",
        "† differs significantly from MT (paired bootstrap over the test sentences within this seed, p < 0.05, not"
        " corrected for the number of systems).",
    ]


def test_one_seed_has_no_other_tables_and_a_note():
    packs = table_packs(make_results([make_experiment("tiny", 1)]))
    assert list(packs) == ["tables-mean"]
    assert packs["tables-mean"]["notes"][0].startswith("One training seed: ")


def test_an_experiment_that_lacks_a_seed_shows_its_means_and_says_so():
    untrained = Experiment("third", "demo", {"Base": ("shared",), "1-shot": ("shared",)}, {"it-nl": "zero-shot"})
    packs = table_packs(make_results([make_experiment("tiny", 3), make_experiment("other", 2), untrained]))
    title = "Zero-shot directions, other on demo: BLEU"
    assert row_of(packs["tables-3"], title, "LAT") == row_of(packs["tables-mean"], title, "LAT")
    assert row_of(packs["tables-2"], title, "LAT") != row_of(packs["tables-mean"], title, "LAT")
    remarks = {table["title"].split(", ")[1]: table["remark"] for table in packs["tables-3"]["tables"]}
    assert remarks["tiny on demo: BLEU"] == "Seed 3 alone."
    assert remarks["other on demo: BLEU"] == (
        "No run of this experiment has the seed 3. Shown, as for `mean over seeds`: seeds 1, 2."
    )
    assert remarks["third on demo: BLEU"] == "No system of this experiment is trained."


@pytest.fixture(scope="module")
def sentence_of():
    """Return a function that sets means over directions, and returns the sentence about the two best systems."""
    experiment = make_experiment("tiny", 3)
    results = make_results([experiment])

    def sentence(metric, means, bleu=None, kept=tuple(SYSTEMS), lower_is_better=()):
        summary, comparisons = results.summary.copy(), results.comparisons.copy()
        chosen = {"BLEU": dict.fromkeys(SYSTEMS, 20.0) | (bleu or {})}
        chosen[metric] = dict.fromkeys(SYSTEMS, 99.0 if metric == "OTR" else 10.0) | means
        for name, values in chosen.items():
            rows = (summary.direction == "AVG") & (summary.metric == name)
            summary.loc[rows, "mean"] = [values[system] for system in summary[rows].system]
        rows = comparisons.metric == metric
        pairs = zip(comparisons[rows].system, comparisons[rows].baseline, strict=True)
        comparisons.loc[rows, "difference"] = [chosen[metric][a] - chosen[metric][b] for a, b in pairs]
        comparisons["low"], comparisons["high"] = comparisons.difference - 1, comparisons.difference + 2
        runs = {system: experiment.runs[system] for system in kept}
        changed = dataclasses.replace(
            results, summary=summary, comparisons=comparisons, lower_is_better=lower_is_better
        )
        return best_and_runner_up(changed, dataclasses.replace(experiment, runs=runs), "zero-shot", metric)

    return sentence


def test_the_sentence_about_the_best_system_gives_its_advantage(sentence_of):
    end = "p < 0.001, corrected for several tests: p = 0.028; 3 training seeds)."
    # The row of the table is about PTL and LAT in this order, and about the runner-up first.
    assert sentence_of("BLEU", {"LAT": 30.0, "PTL": 25.5}) == (
        "Best mean over directions: LAT. Its BLEU is 4.5 higher than that of the runner-up, PTL (95 % interval 2.5 to"
        f" 5.5; {end}"
    )
    assert sentence_of("BLEU", {"LAT": 25.5, "PTL": 30.0}) == (
        "Best mean over directions: PTL. Its BLEU is 4.5 higher than that of the runner-up, LAT (95 % interval 3.5 to"
        f" 6.5; {end}"
    )
    assert sentence_of("OTR", {"LAT": 3.0, "PTL": 8.0}) == (
        "Best mean over directions: LAT. Its OTR is 5.0 lower than that of the runner-up, PTL (95 % interval 4.0 to"
        f" 7.0; {end}"
    )


def test_of_an_error_the_lowest_mean_is_the_best(sentence_of):
    # Any metric will do that is not OTR.
    assert sentence_of("chrF++", {"LAT": 3.0, "PTL": 8.0}, lower_is_better=["chrF++"]) == (
        "Best mean over directions: LAT. Its chrF++ is 5.0 lower than that of the runner-up, PTL (95 % interval 4.0 to"
        " 7.0; p < 0.001, corrected for several tests: p = 0.028; 3 training seeds)."
    )


def test_systems_that_do_not_translate_are_not_the_best(sentence_of):
    found = sentence_of("OTR", {"Base": 0.0, "LAT": 3.0, "PTL": 8.0}, bleu={"Base": 0.9})
    assert found.startswith("Best mean over directions: LAT. Its OTR is 5.0 lower than that of the runner-up, PTL ")
    found = sentence_of("OTR", {"Base": 0.0, "LAT": 3.0, "PTL": 8.0}, bleu={"Base": 1.0})
    assert found.startswith("Best mean over directions: Base. Its OTR is 3.0 lower than that of the runner-up, LAT ")
    assert sentence_of("OTR", {}, bleu=dict.fromkeys(list(SYSTEMS)[1:], 0.5)) == ""


def test_of_equal_systems_the_first_is_the_best(sentence_of):
    found = sentence_of("BLEU", {"MT": 30.0, "PTL": 30.0, "LAT": 30.0})
    assert found.startswith("Best mean over directions: MT. Its BLEU is 0.0 higher than that of the runner-up, PTL ")
    found = sentence_of("OTR", {"MT": 3.0, "PTL": 3.0})
    assert found.startswith("Best mean over directions: MT. Its OTR is 0.0 lower than that of the runner-up, PTL ")
    # Bounds that are rounded to zero have no sign.
    assert "(95 % interval 0.0 to 3.0;" in sentence_of("BLEU", {"MT": 30.97, "PTL": 30.0})


def test_the_sentence_counts_the_seeds_of_trained_systems_only(sentence_of):
    assert "; 3 training seeds)." in sentence_of("BLEU", {"Base": 30.0, "LAT": 29.0})
    assert sentence_of("BLEU", {"Base": 30.0, "1-shot": 29.0}).endswith(": p = 0.028).")
    assert sentence_of("BLEU", {}, kept=["LAT"]) == ""
    single = make_results([make_experiment("tiny", 1)])
    found = best_and_runner_up(single, single.experiments[0], "zero-shot", "BLEU")
    assert found.endswith("; one training seed).")


@pytest.mark.parametrize("caption", sorted(path.name for path in CAPTIONS.glob("*.rst")))
def test_names_in_the_captions_of_the_report_are_no_markup(caption):
    names = ["LAT_", "C_src+lang", "a|b", "*x*"]
    path = "my `folder`\n\n.. raw:: html\n\n   <b>lid</b>.bin"
    config = {
        "seeds": [1, 2, 3],
        "experiments": [{"base_model": "tiny_", "benchmark": "demo_", "systems": names}] * 2,
        "significance": {"baselines": ["LAT_"], "resamples": 1000},
        "detect": {"lid": [path]},
    }
    text = jinja2.Template((CAPTIONS / caption).read_text()).render(snakemake={"config": config})
    shown = publish_parts(text, writer="html", settings_overrides={"report_level": 1})["body"]
    assert "system-message" not in shown and "problematic" not in shown
    bare = " ".join(html.unescape(re.sub("<[^>]*>", "", shown)).split())
    if caption == "workflow.rst":
        assert bare.count("tiny_ on demo_ (LAT_, C_src+lang, a|b, *x*)") == 2
    if caption == "intervals.rst":
        assert "LAT_" in bare
    if caption == "zero_shot.rst":
        assert "outputs that my 'folder' .. raw:: html <b>lid</b>.bin does not" in bare


def test_the_caption_of_off_target_languages_names_lines_without_words():
    text = (CAPTIONS / "off_target_languages.rst").read_text()
    assert "none because the line is empty or has no words" in " ".join(text.split())


@pytest.mark.parametrize("name", ["off_target", "study"])
def test_captions_say_what_intervals_and_points_are(name):
    text = " ".join((CAPTIONS / f"{name}.rst").read_text().split())
    assert "each" in text and "point is one seed" in text
    assert "95 % intervals: of the mean over seeds if a system has at least three training runs" in text
    assert "over resamples of the test lines alone, which do not cover the variation between seeds" in text
