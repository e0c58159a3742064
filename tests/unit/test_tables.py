"""Result tables: layout, means, best scores and formats; scores and signatures of single directions."""

import shutil
import subprocess

import pandas as pd
import pytest
import sacrebleu

from workflow_scripts.lat.evaluation.scores import translation_scores
from workflow_scripts.lat.files import InputError
from workflow_scripts.lat.reporting.page import table_of_block
from workflow_scripts.lat.reporting.tables import general_texts, make_blocks, to_frame, to_html, to_latex, to_markdown


@pytest.fixture
def scores() -> pd.DataFrame:
    rows = []
    for system, bleu, otr in (("MT", (10.0, 20.0), (80.0, 60.0)), ("C_src+lang", (12.04, 20.01), (30.0, 5.0))):
        for direction, value, ratio in zip(("it-nl", "nl-it"), bleu, otr, strict=True):
            rows.append(("tiny", "demo", system, "zero-shot", direction, "BLEU", value))
            rows.append(("tiny", "demo", system, "zero-shot", direction, "OTR", ratio))
    rows += [("tiny", "demo", "reference", "zero-shot", direction, "OTR", 1.0) for direction in ("it-nl", "nl-it")]
    rows.append(("tiny", "demo", "MT", "supervised", "en-it", "BLEU", 33.0))
    return pd.DataFrame(
        rows, columns=["base_model", "benchmark", "system", "supervision", "direction", "metric", "value"]
    )


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


@pytest.fixture
def significance() -> pd.DataFrame:
    rows = [
        ("C_src+lang", "it-nl", "BLEU", 11.0, 13.1, 0.2),
        ("C_src+lang", "nl-it", "BLEU", 19.0, 21.0, 0.9),
        ("C_src+lang", "AVG", "BLEU", 15.0, 17.0, 0.3),
        ("C_src+lang", "it-nl", "OTR", 25.0, 35.0, 0.001),
        ("C_src+lang", "AVG", "OTR", 15.0, 20.0, 0.049),
        ("MT", "it-nl", "OTR", 75.0, 85.0, float("nan")),
    ]
    frame = pd.DataFrame(rows, columns=["system", "direction", "metric", "low", "high", "p"])
    return frame.assign(base_model="tiny", benchmark="demo", supervision="zero-shot")


def test_significant_differences_are_marked_and_explained(scores, significance):
    blocks = make_blocks(scores, "zero-shot", ("BLEU", "OTR"), significance, "MT")
    text = to_markdown(blocks, "Zero-shot directions")
    assert "| C_src+lang | **12.0** | **20.0** | **16.0** |" in text
    assert "| C_src+lang | **30.0**† | **5.0** | **17.5**† |" in text
    assert "| MT | 80.0 | 60.0 | 70.0 |" in text
    note = "† differs significantly from MT (paired bootstrap, p < 0.05)."
    assert text.count(note) == to_latex(blocks).count(f"% {note}") == 1
    assert note.replace("<", "&lt;") in to_html(blocks, "Zero-shot")
    assert "No p-values" not in text
    assert r"\textbf{30.0}\textsuperscript{\textdagger}" in to_latex(blocks)
    assert "<strong>30.0</strong>†" in to_html(blocks, "Zero-shot")


def test_a_baseline_outside_the_experiment_is_noted_under_each_block(scores, significance):
    blocks = make_blocks(scores, "zero-shot", ("BLEU", "OTR"), significance.assign(p=float("nan")), "Post-ins")
    note = "No p-values: the baseline Post-ins is not among the systems of this experiment."
    tables = to_markdown(blocks, "Zero-shot directions").split("\n\n")
    assert tables[2] == note and tables[5] == f"{note}\n" and len(tables) == 6
    assert to_latex(blocks).count(f"\\end{{tabular}}\n% {note}\n") == 2
    assert to_html(blocks, "Zero-shot").count(f"</table>\n<p>{note}</p>") == 2
    for block in blocks:
        page = table_of_block(block, "Zero-shot")
        assert page["note"] == note


def test_the_note_names_only_experiments_without_the_baseline(scores, significance):
    other = scores[scores.system != "MT"].assign(base_model="other")
    both = pd.concat([scores, other])
    blocks = make_blocks(both, "zero-shot", ("BLEU",), significance, "MT")
    assert [bool(block.note) for block in blocks] == [False, True]
    assert not any(block.note for block in make_blocks(both, "zero-shot", ("BLEU",)))


def test_intervals_are_shown_on_request(scores, significance):
    text = to_markdown(
        make_blocks(scores, "zero-shot", ("BLEU", "OTR"), significance, with_intervals=True), "Zero-shot"
    )
    assert "| C_src+lang | **12.0** [11.0, 13.1] |" in text
    assert "95 % intervals" in text
    assert "[" not in to_markdown(make_blocks(scores, "zero-shot", ("BLEU",), significance), "Zero-shot")


def test_general_tasks_are_shares_of_the_clear_comparisons():
    names = {
        "base_model": "m",
        "benchmark": "b",
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
def test_latex_compiles_with_booktabs_alone(scores, tmp_path):
    table = to_latex(make_blocks(scores, "zero-shot", ("BLEU", "OTR")))
    (tmp_path / "tables.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n" + table + "\n\\end{document}\n"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "tables.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "tables.pdf").stat().st_size > 1000
