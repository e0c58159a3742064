"""The HTML page and the captions show names and texts as they are."""

import html
import re

import jinja2
import pandas as pd
import pytest
from docutils.core import publish_parts
from test_formats import HOSTILE

from tests.conftest import ROOT
from workflow_scripts.lat.evaluation.offtarget import ClassifiedLine, Verdict
from workflow_scripts.lat.files import InputError, write_lines
from workflow_scripts.lat.reporting.charts import study_figure
from workflow_scripts.lat.reporting.formats import Cell, Table
from workflow_scripts.lat.reporting.page import Outputs, examples, inline_svg, read_texts, render, table_of
from workflow_scripts.lat.reporting.reading import Lines

CAPTIONS = ROOT / "resources" / "captions"
TAGS = r"</?(?:a|b|script|style|table|thead|tbody|tr|th|td|h[1-4]|p|em|strong|code|pre|div|figcaption)\b[^>]*>"


@pytest.mark.parametrize("text", HOSTILE)
def test_the_page_shows_every_text_itself(text):
    cells = [Cell(text), Cell(text, bold=True, marked=True)]
    page = render(
        title=text,
        summary=text,
        baseline=text,
        tables=[table_of(Table(text, [text, text], [cells], note=text))],
        figures=[{"svg": "", "caption": text}],
        signatures=[(text, text)],
        versions=[(text, text)],
        config=text,
        data=[],
    )
    head, body = page.split("</head>")
    assert head.count(html.escape(text, quote=False)) + head.count(html.escape(text)) >= 1
    body = body[: body.index("<script")]
    unescaped = html.unescape(re.sub(TAGS, "", body))
    assert unescaped.count(text) >= 13
    assert "<script" not in body and "example.org>" not in body


def test_a_table_has_its_intervals_as_hints_and_negative_numbers_are_sorted_as_numbers():
    row = [Cell("LAT"), Cell("-12.5", interval=(-13.0, -12.0)), Cell("< 0.001"), Cell("-")]
    (found,) = table_of(Table("t", ["System", "a", "b", "c"], [row]))["rows"]
    assert [cell["value"] for cell in found["cells"]] == [-12.5, 0.0, "-"]
    assert found["cells"][0]["hint"] == "95 % interval -13.0 to -12.0"


def test_ids_of_a_figure_are_prefixed_and_its_texts_are_not(tmp_path):
    label = 'id="a" url(#b) href="#c" </svg><script>'
    columns = ["base_model", "benchmark", "system", "supervision", "direction", "metric", "value", "low", "high"]
    figure = study_figure(label, {}, pd.DataFrame(columns=columns))
    figure.savefig(tmp_path / "figure.svg")
    svg = inline_svg(tmp_path / "figure.svg", 7)
    assert html.unescape(svg).count(label) == 3 and "<script" not in svg
    ids = re.findall(r'<[^>]*\bid="([^"]*)"', svg)
    assert ids and all(name.startswith("f7-") for name in ids)
    targets = re.findall(r'<[^>]*(?:url\(#|href="#)([^")]*)', svg)
    assert targets and all(name in ids for name in targets)


@pytest.mark.parametrize("content", ["", "<svg ", "no figure"])
def test_a_file_that_is_no_whole_figure_is_refused(tmp_path, content):
    (tmp_path / "figure.svg").write_text(content)
    with pytest.raises(InputError, match=r"figure.svg: no whole SVG file; delete it and run again"):
        inline_svg(tmp_path / "figure.svg", 1)


def test_texts_and_outputs_have_the_same_number_of_lines(tmp_path):
    write_lines(tmp_path / "it-nl.src.txt", ["uno", "due"])
    write_lines(tmp_path / "it-nl.ref.txt", ["een"])
    with pytest.raises(InputError, match="it-nl: 2 sources, 1 references; delete the folder and run again"):
        read_texts(tmp_path, ["it-nl"])
    write_lines(tmp_path / "it-nl.ref.txt", ["een", "twee"])
    texts = read_texts(tmp_path, ["it-nl"])
    lines = [ClassifiedLine("nl", 0.9, Verdict.TARGET, False), ClassifiedLine("it", 0.9, Verdict.SOURCE, False)]
    systems = {"MT": Outputs(tmp_path, Lines(tmp_path / "lines.tsv", {"it-nl": lines}, {}))}
    write_lines(tmp_path / "it-nl.txt", ["een"])
    with pytest.raises(InputError, match=r"it-nl\.txt: 1 lines for 2 sources; delete the folder and run again"):
        examples("m on b", texts, systems, {"it-nl": "zero-shot"})
    write_lines(tmp_path / "it-nl.txt", ["een", "due"])
    (found,) = examples("m on b", texts, systems, {"it-nl": "zero-shot"})["directions"]
    assert found["outputs"] == [["een", "due"]] and found["labels"] == [["nl", "it"]] and found["verdicts"] == ["ts"]


@pytest.mark.parametrize("caption", sorted(path.name for path in CAPTIONS.glob("*.rst")))
def test_names_in_the_captions_of_the_report_are_no_markup(caption):
    names = ["LAT_", "C_src+lang", "a|b", "*x*"]
    path = "my `folder`\n\n.. raw:: html\n\n   <b>lid</b>.bin"
    config = {
        "seed": 1,
        "experiments": [{"base_model": "tiny_", "benchmark": "demo_", "systems": names}] * 2,
        "significance": {"baseline": "LAT_", "resamples": 1000},
        "detect": {"lid": [path]},
    }
    text = jinja2.Template((CAPTIONS / caption).read_text()).render(snakemake={"config": config})
    shown = publish_parts(text, writer="html", settings_overrides={"report_level": 1})["body"]
    assert "system-message" not in shown and "problematic" not in shown
    bare = " ".join(html.unescape(re.sub("<[^>]*>", "", shown)).split())
    if caption == "workflow.rst":
        assert bare.count("tiny_ on demo_ (LAT_, C_src+lang, a|b, *x*)") == 2
    if caption == "intervals.rst":
        assert "differences from LAT_: paired bootstrap" in bare
    if caption == "zero_shot.rst":
        assert "outputs that my 'folder' .. raw:: html <b>lid</b>.bin does not" in bare


def test_the_caption_of_off_target_languages_names_lines_without_words():
    text = (CAPTIONS / "off_target_languages.rst").read_text()
    assert "none because the line is\nempty or has no words" in text
