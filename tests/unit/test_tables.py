"""Result tables: layout, means over directions and seeds, best scores, notes and formats; scores of directions."""

import shutil
import subprocess

import pandas as pd
import pytest
import sacrebleu

from timing.evaluation import make_block, table_by_cells
from workflow_scripts.lat.evaluation.scores import translation_scores
from workflow_scripts.lat.files import InputError
from workflow_scripts.lat.reporting.formats import escape_latex, escape_markdown, latex_note
from workflow_scripts.lat.reporting.tables import (
    general_table,
    general_texts,
    make_blocks,
    notes,
    to_frame,
    to_html,
    to_latex,
    to_markdown,
)

COLUMNS = ["base_model", "benchmark", "system", "seed", "supervision", "direction", "metric", "value"]


def frame(bleu: dict[tuple[str, str], tuple[float, float]], otr: dict[tuple[str, str], tuple[float, float]]):
    """Scores of two zero-shot directions by metric and by system and seed."""
    rows = [
        ("tiny", "demo", system, seed, "zero-shot", direction, metric, value)
        for metric, runs in (("BLEU", bleu), ("OTR", otr))
        for (system, seed), values in runs.items()
        for direction, value in zip(("it-nl", "nl-it"), values, strict=True)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


@pytest.fixture
def scores() -> pd.DataFrame:
    names = ("MT", "1"), ("C_src+lang", "1"), ("reference", "shared")
    bleu = dict(zip(names[:2], ((10.0, 20.0), (12.04, 20.01)), strict=True))
    supervised = ("tiny", "demo", "MT", "1", "supervised", "en-it", "BLEU", 33.0)
    zero_shot = frame(bleu, dict(zip(names, ((80.0, 60.0), (30.0, 5.0), (1.0, 1.0)), strict=True)))
    return pd.concat([zero_shot, pd.DataFrame([supervised], columns=COLUMNS)])


@pytest.fixture
def scores_of_seeds() -> pd.DataFrame:
    runs = ("5-shot", "shared"), ("MT", "1"), ("MT", "2"), ("MT", "3"), ("LAT", "1"), ("LAT", "2"), ("LAT", "3")
    bleu = ((3.0, 5.0), (10.0, 20.0), (12.0, 18.0), (14.0, 16.0), (12.0, 22.0), (12.0, 23.0), (12.0, 24.6))
    otr = ((40.0, 50.0), (70.0, 60.0), (80.0, 60.0), (90.0, 60.0), (5.0, 5.0), (7.0, 5.0), (9.0, 5.0), (1.0, 2.0))
    of_runs = dict(zip(runs, bleu, strict=True))
    return frame(of_runs, dict(zip((*runs, ("reference", "shared")), otr, strict=True)))


def test_systems_are_rows_and_directions_and_their_mean_are_columns(scores):
    bleu, otr = make_blocks(scores, "zero-shot", ("BLEU", "OTR"))
    assert list(bleu.values.columns) == ["it-nl", "nl-it", "AVG"]
    assert list(bleu.values.index) == ["MT", "C_src+lang"]
    assert list(otr.values.index) == ["MT", "C_src+lang", "reference"]
    assert bleu.values.loc["MT", "AVG"] == 15.0
    assert otr.values.loc["C_src+lang", "AVG"] == 17.5


def test_best_is_highest_bleu_or_lowest_otr_with_ties_but_without_the_reference(scores):
    bleu, otr = make_blocks(scores, "zero-shot", ("BLEU", "OTR"))
    assert bleu.best().loc["C_src+lang"].tolist() == [True, True, True]
    assert bleu.best().loc["MT"].tolist() == [False, True, False]  # 20.0 and 20.01 print the same
    assert otr.best().loc["C_src+lang"].tolist() == [True, True, True]
    assert not otr.best().loc["reference"].any()


def test_a_learned_metric_can_be_an_error(scores):
    errors = scores.replace({"metric": {"OTR": "MetricX"}})
    (block,) = make_blocks(errors, "zero-shot", ("MetricX",), lower_is_better=["MetricX"])
    assert block.title == "tiny on demo: MetricX, lower is better"
    assert block.best().loc["C_src+lang"].all() and not block.best().loc["MT"].any()
    (block,) = make_blocks(errors, "zero-shot", ("MetricX",), lower_is_better=["Other"])
    assert block.title == "tiny on demo: MetricX, higher is better"
    assert block.best().loc["MT"].all()


def test_markdown(scores):
    text = to_markdown(make_blocks(scores, "zero-shot", ("BLEU", "OTR")), "Zero-shot directions")
    assert "| System | it-nl | nl-it | AVG |" in text
    assert "| MT | 10.0 | **20.0** | 15.0 |" in text
    assert "| reference | 1.0 | 1.0 | 1.0 |" in text


def test_latex_escapes_and_balances(scores):
    text = to_latex(make_blocks(scores, "zero-shot", ("BLEU", "OTR")))
    assert r"C\_src+lang & \textbf{12.0}" in text
    assert r"\multicolumn{4}{l}{tiny on demo: OTR (\%), lower is better}" in text
    assert text.count(r"\begin{tabular}{lrrr}") == text.count(r"\end{tabular}") == 2


def test_tables_without_directions_say_so(scores):
    nothing = make_blocks(scores[scores.supervision == "supervised"], "zero-shot", ("BLEU", "OTR"))
    assert to_markdown(nothing, "Zero-shot directions") == "No zero-shot directions.\n"
    assert list(to_frame(nothing).columns)[:3] == ["base_model", "benchmark", "metric"]
    assert "None in this run" in to_html(nothing, "Zero-shot directions")


def test_html_and_frame_have_the_same_scores(scores):
    blocks = make_blocks(scores, "zero-shot", ("BLEU", "OTR"))
    assert "<strong>12.0</strong>" in to_html(blocks, "Zero-shot")
    frame = to_frame(blocks)
    assert list(frame.columns) == ["base_model", "benchmark", "metric", "system", "it-nl", "nl-it", "AVG"]
    assert frame.set_index(["metric", "system"]).loc[("OTR", "reference"), "AVG"] == 1.0


def test_scores_are_means_with_standard_deviations_over_seeds(scores_of_seeds):
    bleu, otr = make_blocks(scores_of_seeds, "zero-shot", ("BLEU", "OTR"))
    assert bleu.seeds == otr.seeds == 3
    assert list(bleu.values.index) == ["5-shot", "MT", "LAT"] and bleu.values.loc["MT"].tolist() == [12.0, 18.0, 15.0]
    # The mean over directions is the same for all seeds of MT, although every direction varies.
    assert bleu.spreads.loc["MT"].tolist() == [2.0, 2.0, 0.0]
    assert bleu.spreads.loc["5-shot"].isna().all() and otr.spreads.loc["reference"].isna().all()
    text = to_markdown([bleu, otr], "Zero-shot")
    assert "| 5-shot | 3.0 | 5.0 | 4.0 |" in text
    assert "| MT | **12.0** ± 2.0 | 18.0 ± 2.0 | 15.0 ± 0.0 |" in text
    assert "| LAT | **12.0** ± 0.0 | **23.2** ± 1.3 | **17.6** ± 0.7 |" in text
    assert "| reference | 1.0 | 2.0 | 1.5 |" in text
    assert r"MT & \textbf{12.0} $\pm$ 2.0 & 18.0 $\pm$ 2.0 & 15.0 $\pm$ 0.0 \\" in to_latex([bleu, otr])
    assert "<td><strong>12.0</strong> ± 2.0</td><td>18.0 ± 2.0</td>" in to_html([bleu, otr], "Zero-shot")


def test_the_wide_table_has_columns_of_standard_deviations_if_there_are_several_seeds(scores, scores_of_seeds):
    several = to_frame(make_blocks(scores_of_seeds, "zero-shot", ("BLEU", "OTR")))
    names = ["base_model", "benchmark", "metric", "system"]
    assert list(several.columns) == [*names, "it-nl", "nl-it", "AVG", "it-nl sd", "nl-it sd", "AVG sd"]
    rows = several.set_index(["metric", "system"])
    assert rows.loc[("BLEU", "LAT"), ["it-nl", "nl-it sd"]].tolist() == [12.0, 1.3]
    assert rows.loc[("OTR", "reference")].isna().tolist() == [False] * 5 + [True] * 3
    # Another experiment, with one seed and other directions, in the same table.
    other = scores.assign(benchmark="other", direction=scores.direction.str.replace("nl", "ro"))
    both = to_frame(make_blocks(pd.concat([scores_of_seeds, other]), "zero-shot", ("BLEU",)))
    assert list(both.columns)[4:9] == ["it-nl", "nl-it", "AVG", "it-ro", "ro-it"]
    assert len(both) == 5 and both.system.tolist() == ["5-shot", "MT", "LAT", "MT", "C_src+lang"]
    assert both["AVG sd"].isna().tolist() == [True, False, False, True, True]
    assert not [name for name in to_frame(make_blocks(scores, "zero-shot", ("BLEU",))).columns if "sd" in name]


def test_a_system_that_does_not_translate_is_never_the_best():
    bleu = {("Empty", "1"): (0.99, 5.0), ("Empty", "2"): (0.99, 0.9), ("MT", "1"): (9.0, 0.9), ("MT", "2"): (9.0, 0.9)}
    otr = {("Empty", "1"): (0.0, 9.0), ("Empty", "2"): (0.0, 9.0), ("MT", "1"): (50.0, 0.0), ("MT", "2"): (50.0, 0.0)}
    otr[("reference", "shared")] = (0.0, 0.0)
    blocks = make_blocks(frame(bleu, otr), "zero-shot", ("BLEU", "OTR"))
    for block in blocks:
        # Both have a mean BLEU of at least 1 over both directions. In the second direction, MT alone does not
        # translate.
        assert block.best().loc["MT"].tolist()[:2] == [True, False]
        assert block.best().loc["Empty"].tolist()[:2] == [False, True]
        assert "Never in bold: systems with a mean BLEU below 1 in the same column." in block.note
    assert blocks[1].best()["AVG"].tolist() == [True, False, False]
    text = to_markdown(blocks, "Zero-shot")
    assert "| Empty | 0.0 ± 0.0 | **9.0** ± 0.0 | **4.5** ± 0.0 |" in text
    assert "| MT | **50.0** ± 0.0 | 0.0 ± 0.0 | 25.0 ± 0.0 |" in text


def test_the_mean_over_directions_decides_about_the_column_of_means():
    bleu = {("Empty", "shared"): (1.5, 0.3), ("MT", "shared"): (9.0, 9.0)}
    otr = {("Empty", "shared"): (0.0, 0.0), ("MT", "shared"): (50.0, 50.0)}
    block = make_blocks(frame(bleu, otr), "zero-shot", ("OTR",))[0]
    assert block.best().loc["Empty"].tolist() == [True, False, False]
    nothing = make_blocks(frame({("Empty", "1"): (0.1, 0.1)}, {("Empty", "1"): (0.0, 0.0)}), "zero-shot", ("OTR",))
    assert not nothing[0].best().to_numpy().any() and "**0.0**" not in to_markdown(nothing, "Zero-shot")
    assert not any(block.note for block in make_blocks(frame({("MT", "1"): (1.0, 9.0)}, {}), "zero-shot", ("BLEU",)))


@pytest.fixture
def summary() -> pd.DataFrame:
    """Means over seeds, where p alone would mark one score too many."""
    rows = [
        ("C_src+lang", "it-nl", "BLEU", 11.0, 13.1, 0.02, 0.06),
        ("C_src+lang", "nl-it", "BLEU", 19.0, 21.0, 0.9, 0.9),
        ("C_src+lang", "AVG", "BLEU", 15.0, 17.0, 0.3, 0.6),
        ("C_src+lang", "it-nl", "OTR", 25.0, 35.0, 0.001, 0.002),
        ("C_src+lang", "AVG", "OTR", 15.0, 20.0, 0.049, 0.049),
        ("MT", "it-nl", "OTR", 75.0, 85.0, float("nan"), float("nan")),
    ]
    columns = ["system", "direction", "metric", "low", "high", "p", "p_corrected"]
    return pd.DataFrame(rows, columns=columns).assign(base_model="tiny", benchmark="demo", supervision="zero-shot")


def test_significant_differences_are_marked_and_explained(scores, summary):
    blocks = make_blocks(scores, "zero-shot", ("BLEU", "OTR"), summary, "MT")
    text = to_markdown(blocks, "Zero-shot directions")
    assert "| C_src+lang | **12.0** | **20.0** | **16.0** |" in text
    assert "| C_src+lang | **30.0**† | **5.0** | **17.5**† |" in text
    assert "| MT | 80.0 | 60.0 | 70.0 |" in text
    note = (
        "† differs significantly from MT (paired bootstrap over the test sentences, Holm-corrected p < 0.05); training"
        " variance is not covered: 1 training seed."
    )
    assert text.count(note) == to_latex(blocks).count(escape_latex(note)) == 1
    assert note.replace("<", "&lt;") in to_html(blocks, "Zero-shot")
    assert "No p-values" not in text
    # At the end of a cell, the mark has no width, so that decimal points stay aligned.
    assert r"\textbf{30.0}\rlap{\textsuperscript{\textdagger}}" in to_latex(blocks)
    assert '<strong>30.0</strong><span class="mark">†</span>' in to_html(blocks, "Zero-shot")


def test_marks_stand_between_mean_and_standard_deviation(scores_of_seeds, summary):
    summary = summary.replace("C_src+lang", "LAT")
    blocks = make_blocks(scores_of_seeds, "zero-shot", ("BLEU", "OTR"), summary, "MT", with_intervals=True)
    assert "| LAT | **7.0**† ± 2.0 [25.0, 35.0] |" in to_markdown(blocks, "Zero-shot")
    assert r"\textbf{7.0}\textsuperscript{\textdagger} $\pm$ 2.0 [25.0, 35.0]" in to_latex(blocks)
    assert "<td><strong>7.0</strong>† ± 2.0 [25.0, 35.0]</td>" in to_html(blocks, "Zero-shot")


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [
        (
            3,
            [
                "Mean ± standard deviation over 3 training seeds. A score without ± does not depend on the seed.",
                "† differs significantly from MT (bootstrap over the test sentences and t-distribution over 3 seeds,"
                " Holm-corrected p < 0.05).",
                "In brackets: 95 % intervals (bootstrap over the test sentences and t-distribution over 3 seeds).",
            ],
        ),
        (
            2,
            [
                "Mean ± standard deviation over 2 training seeds, which are too few for intervals and tests that cover"
                " training variance. A score without ± does not depend on the seed.",
                "† differs significantly from MT (paired bootstrap over the test sentences, Holm-corrected p < 0.05);"
                " training variance is not covered: 2 training seeds.",
                "In brackets: 95 % intervals (bootstrap over the test sentences); training variance is not covered: 2"
                " training seeds.",
            ],
        ),
        (
            1,
            [
                "One training seed: every score is that of a single training run; training variance is not covered.",
                "† differs significantly from MT (paired bootstrap over the test sentences, Holm-corrected p < 0.05);"
                " training variance is not covered: 1 training seed.",
                "In brackets: 95 % intervals (bootstrap over the test sentences); training variance is not covered: 1"
                " training seed.",
            ],
        ),
        (
            0,
            [
                "† differs significantly from MT (paired bootstrap over the test sentences, Holm-corrected p < 0.05).",
                "In brackets: 95 % intervals (bootstrap over the test sentences).",
            ],
        ),
    ],
)
def test_notes_say_what_the_numbers_are_computed_from(scores_of_seeds, summary, seeds, expected):
    scores = scores_of_seeds[scores_of_seeds.seed.isin(["shared", *"123"[:seeds]])]
    if not seeds:
        scores = scores.replace({"system": {"5-shot": "MT"}})
    summary = summary.replace({"system": {"C_src+lang": "LAT" if seeds else "MT"}}).drop_duplicates(
        ["system", "direction", "metric"]
    )
    blocks = make_blocks(scores, "zero-shot", ("BLEU", "OTR"), summary, "MT", with_intervals=True)
    assert notes(blocks) == expected
    assert to_markdown(blocks, "Zero-shot").count("\n\n" + "\n\n".join(map(escape_markdown, expected))) == 1
    assert all(latex_note(note) in to_latex(blocks) for note in expected)
    without = make_blocks(scores, "zero-shot", ("BLEU", "OTR"))
    assert notes(without) == expected[: 1 if seeds else 0]
    assert ("±" in to_markdown(without, "Zero-shot")) == (seeds > 1)


def test_all_formats_name_the_baseline_if_no_score_differs_from_it(scores, summary):
    blocks = make_blocks(scores, "zero-shot", ("BLEU", "OTR"), summary.assign(p_corrected=0.9), "MT")
    assert not any(block.differs.to_numpy().any() for block in blocks)
    for text in (to_markdown(blocks, "Zero-shot"), to_latex(blocks), to_html(blocks, "Zero-shot")):
        assert text.count("differs significantly from MT (") == 1


def test_standard_deviations_are_rounded_as_scores_are(scores_of_seeds):
    block = make_blocks(scores_of_seeds, "zero-shot", ("BLEU",))[0]
    block.spreads.iloc[:, :] = 0.35
    spreads = to_frame([block]).filter(like=" sd").to_numpy()
    assert (spreads == 0.3).all() and f"{0.35:.1f}" == "0.3"


def test_notes_name_the_experiments_if_they_differ(scores, scores_of_seeds):
    blocks = make_blocks(pd.concat([scores, scores_of_seeds.assign(base_model="other")]), "zero-shot", ("BLEU", "OTR"))
    assert [note.split(" training seed")[0] for note in notes(blocks)] == [
        "tiny on demo: One",
        "other on demo: Mean ± standard deviation over 3",
    ]


def test_a_baseline_outside_the_experiment_is_noted_under_each_block(scores, summary):
    blocks = make_blocks(scores, "zero-shot", ("BLEU", "OTR"), summary.assign(p_corrected=float("nan")), "Post-ins")
    note = "No p-values: the baseline Post-ins is not among the systems of this experiment."
    tables = to_markdown(blocks, "Zero-shot directions").split("\n\n")
    assert tables[2] == tables[5] == note and len(tables) == 7
    assert to_latex(blocks).count(f"\\end{{tabular}}\\par}}\n{latex_note(note)}\n") == 2
    assert to_html(blocks, "Zero-shot").count(f"</table>\n<p>{note}</p>") == 2
    assert [block.note for block in blocks] == [note, note]


def test_the_note_names_only_experiments_without_the_baseline(scores, summary):
    other = scores[scores.system != "MT"].assign(base_model="other")
    both = pd.concat([scores, other])
    blocks = make_blocks(both, "zero-shot", ("BLEU",), summary, "MT")
    assert [bool(block.note) for block in blocks] == [False, True]
    assert not any(block.note for block in make_blocks(both, "zero-shot", ("BLEU",)))


@pytest.mark.parametrize("with_intervals", [False, True])
def test_cells_are_those_that_are_looked_up_one_by_one(scores, scores_of_seeds, summary, with_intervals):
    blocks = make_blocks(scores, "zero-shot", ("BLEU", "OTR"), summary, "MT", with_intervals)
    blocks += make_blocks(scores_of_seeds, "zero-shot", ("BLEU", "OTR"), summary, "MT", with_intervals)
    assert len(blocks) == 4
    for block in (*blocks, make_block(7)):
        assert block.table() == table_by_cells(block)


def test_intervals_are_shown_on_request(scores, summary):
    text = to_markdown(make_blocks(scores, "zero-shot", ("BLEU", "OTR"), summary, with_intervals=True), "Zero-shot")
    assert "| C_src+lang | **12.0** [11.0, 13.1] |" in text
    assert "95 % intervals" in text
    assert "[" not in to_markdown(make_blocks(scores, "zero-shot", ("BLEU",), summary), "Zero-shot")


def test_general_tasks_are_shares_of_the_clear_comparisons():
    names = {
        "base_model": "m",
        "benchmark": "b",
        "seed": "1",
        "system": "LAT",
        "baseline": "MT",
        "instructions": "set",
        "judge": "j_1",
    }
    row = names | {"n": "12", "win": "5", "tie": "4", "lose": "1", "unclear": "2", "p": "0.21875"}
    texts = general_texts([row, row | {"p": "1e-9"}])
    assert "| m | b | LAT | MT | 50.0 | 40.0 | 10.0 | 10 | 0.219 |\n" in texts["md"]
    assert texts["md"].startswith("**General tasks: set, judged by j_1 in both orders (%)**")
    assert "& 10 & \\textless{} 0.001" in texts["tex"] and r"judged by j\_1 in both orders (\%)" in texts["tex"]
    assert "<td>&lt; 0.001</td>" in texts["html"]


def test_general_tasks_have_one_row_per_seed_if_there_are_several():
    row = {"base_model": "m", "benchmark": "b", "system": "LAT", "baseline": "MT", "instructions": "set", "judge": "j"}
    row |= {"n": "10", "win": "5", "tie": "4", "lose": "1", "unclear": "0", "p": "0.21875"}
    table = general_table([row | {"seed": "1"}, row | {"seed": "2"}, row | {"seed": "shared", "system": "Base"}])
    assert table.header[:5] == ["Base model", "Benchmark", "Seed", "System", "Against"] and table.text_columns == 5
    assert [[cell.text for cell in cells[2:4]] for cells in table.rows] == [
        ["1", "LAT"],
        ["2", "LAT"],
        ["shared", "Base"],
    ]
    single = general_table([row | {"seed": "7"}, row | {"seed": "shared", "system": "Base"}])
    assert "Seed" not in single.header and single.text_columns == 4


def test_scores_are_those_of_sacrebleu_with_the_tokenizer_of_the_target_language():
    hypotheses = ["Dit is een test .", "Nog een regel om te meten."]
    references = ["Dit is een test.", "Nog een regel om te meten!"]
    bleu, chrf = translation_scores(hypotheses, references, "it-nl")
    assert bleu.value == pytest.approx(sacrebleu.corpus_bleu(hypotheses, [references]).score)
    assert chrf.value == pytest.approx(sacrebleu.corpus_chrf(hypotheses, [references], word_order=2).score)
    assert "tok:13a" in bleu.signature and "nw:2" in chrf.signature
    chinese = translation_scores(["我喜欢猫。"], ["我喜欢狗。"], "en-zh")[0]
    assert "tok:zh" in chinese.signature


def test_unequal_line_counts_give_one_clear_error():
    with pytest.raises(InputError, match="it-nl: 1 hypotheses for 2 references"):
        translation_scores(["a"], ["a", "b"], "it-nl")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_latex_compiles_with_booktabs_alone(scores, scores_of_seeds, summary, tmp_path):
    seeds = make_blocks(scores_of_seeds, "zero-shot", ("BLEU", "OTR"), summary.replace("C_src+lang", "LAT"), "MT", True)
    table = to_latex([*make_blocks(scores, "zero-shot", ("BLEU", "OTR")), *seeds])
    assert r"$\pm$" in table and r"\textdagger" in table
    (tmp_path / "tables.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n" + table + "\n\\end{document}\n"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "tables.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "tables.pdf").stat().st_size > 1000


def test_the_effect_of_a_loss_is_the_difference_from_its_control(scores):
    controls = [
        ("tiny", "demo", "unlikelihood", "C_src+lang", "MT"),
        ("other", "demo", "preference", "MT", "C_src+lang"),
    ]
    bleu, otr = make_blocks(scores, "zero-shot", ("BLEU", "OTR"), controls=controls)
    exact = scores[(scores.metric == "BLEU") & (scores.supervision == "zero-shot")].groupby("system").value.mean()
    difference = exact["C_src+lang"] - exact["MT"]
    assert bleu.note == f"Effect of the unlikelihood loss: C_src+lang minus MT is {difference:+.1f} (AVG)."
    text = to_markdown([bleu, otr], "Zero-shot")
    assert text.count("Effect of the unlikelihood loss") == 2 and "preference" not in text
