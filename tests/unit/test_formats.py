"""Texts of the config and of data are shown as they are in Markdown, LaTeX and HTML, and are never read as markup."""

import html
import re
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.lat.reporting.formats import (
    Cell,
    Table,
    escape_html,
    escape_latex,
    escape_markdown,
    html_page,
    html_table,
    latex_table,
    markdown_table,
)
from workflow_scripts.lat.reporting.tables import general_texts

# Commands, formulas, comments, tables, tags, links, emphasis, entities, code, and line breaks of several kinds.
HOSTILE = [
    r"\input{/etc/passwd}",
    "$x_1$ costs 5 % & more",
    "#1 {a} ^b ~c",
    "a | b || c",
    "`code` ``more``",
    "<script>alert(1)</script>",
    "<https://example.org>",
    "[text](https://example.org) ![image](x)",
    "*one* **two** _three_ __four__ ~~five~~",
    "&lt; &amp; &#33;",
    r"back\slash \\ \| \$",
    "[1cm] *",
    "a_b_c a-b",
    "< 0.001 and > 5",
]
BREAKS = ["a\nb", "a\r\nb", "a\u2028b", "a\x85b", "a\x0bb", "a\tb", "a\n\n# b", "a\\\n\\end{tabular}"]


def table(text: str) -> Table:
    row = [Cell(text), Cell(text, bold=True, marked=True, spread=0.25, interval=(1.0, 2.25))]
    return Table(text, ["System", text], [row, row], note=text)


def one_line(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("text", [*HOSTILE, *BREAKS])
def test_markdown_shows_the_text_itself(text):
    markdown_it = pytest.importorskip("markdown_it")
    parser = markdown_it.MarkdownIt("gfm-like", {"linkify": False})
    rendered = parser.render(markdown_table(table(text)) + "\n")
    shown = [html.unescape(cell) for cell in re.findall("<t[dh][^>]*>(.*?)</t[dh]>", rendered)]
    expected = one_line(text)
    assert shown == ["System", expected, *[expected, f"<strong>{expected}</strong>† ± 0.2 [1.0, 2.2]"] * 2]
    assert [html.unescape(line) for line in re.findall("<p>(.*?)</p>", rendered)] == [
        f"<strong>{expected}</strong>",
        expected,
    ]


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_markdown_of_any_text_has_as_many_cells_as_columns(text):
    markdown_it = pytest.importorskip("markdown_it")
    rows = markdown_it.MarkdownIt("gfm-like", {"linkify": False}).render(
        "| a | b |\n| --- | --- |\n| " + escape_markdown(text) + " | x |\n"
    )
    assert rows.count("<td") == 2 and "<td>x</td>" in rows


@pytest.mark.parametrize("text", [*HOSTILE, *BREAKS])
def test_html_shows_the_text_itself(text):
    page = html_page(text, html_table(table(text)))
    bare = re.sub(
        r"</?(?:table|caption|thead|tbody|tr|th|td|strong|p|h1|title|html|head|body|meta|style)\b[^>]*>", "", page
    )
    assert "<" not in bare.removeprefix("<!DOCTYPE html>")
    assert html.unescape(bare).count(one_line(text)) == 9


@pytest.mark.parametrize("text", [*HOSTILE, *BREAKS])
def test_latex_has_no_command_of_the_text(text):
    commands = {"textbackslash", "textasciicircum", "textasciitilde", "textless", "textgreater", "textbar"}
    escaped = escape_latex(text)
    assert set(re.findall(r"\\([a-zA-Z]+)", escaped)) <= commands | {"textasciigrave"}
    assert set(re.findall(r"\\([^a-zA-Z])", escaped)) <= set("{}$&#%_")
    # Whatever has a meaning of its own in LaTeX comes after a backslash or is a brace of a replacement.
    bare = re.sub(r"\\[{}$&#%_]|\\[a-z]+\{\}|\{[\[\]*]\}", "", escaped)
    assert not set(bare) & set(r"\{}$&#%_^~<>|`[]*")
    lines = latex_table(table(text)).splitlines()
    assert len(lines) == 12 and lines[-1] == rf"{{\footnotesize\noindent {escaped}\par}}"
    assert all(line.endswith(r"\textsuperscript{\textdagger} $\pm$ 0.2 [1.0, 2.2] \\") for line in lines[7:9])


def test_control_characters_are_removed():
    for escape in (escape_markdown, escape_latex, escape_html):
        assert escape("a\x00\x07\x1b[31m\x7fb".replace("[", "(")) == "a(31mb"


@pytest.mark.parametrize(("escape", "name"), [(escape_markdown, "C_src+lang"), (escape_latex, r"C\_src+lang")])
def test_common_names_stay_readable(escape, name):
    assert escape("C_src+lang") == name
    assert escape("LAT-50.b (x)") == "LAT-50.b (x)"


def test_a_judge_called_like_a_command_is_a_text_in_all_formats():
    names = {"base_model": "m", "benchmark": "b", "seed": "1", "system": "LAT", "baseline": "MT"}
    names |= {"instructions": "a|b", "judge": r"\input{/etc/passwd} <b>$x$"}
    texts = general_texts([names | {"n": "1", "win": "1", "tie": "0", "lose": "0", "unclear": "0", "p": "1.0"}])
    assert r"\input" not in texts["tex"]
    assert (
        r"judged by \textbackslash{}input\{/etc/passwd\} \textless{}b\textgreater{}\$x\$ in both orders" in texts["tex"]
    )
    assert r"a\|b, judged by \\input\{/etc/passwd\} \<b\>\$x\$ in both" in texts["md"]
    assert "a|b, judged by \\input{/etc/passwd} &lt;b&gt;$x$ in both" in texts["html"]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_hostile_texts_compile(tmp_path):
    tables = "\n\n".join(latex_table(table(text)) for text in [*HOSTILE, *BREAKS])
    preamble = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n"
    (tmp_path / "tables.tex").write_text(f"{preamble}{tables}\n\\end{{document}}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "tables.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]


def test_no_text_changes_the_direction_of_its_row():
    hidden = "a\u202eb\u2066c\u2069"
    assert [escape(hidden) for escape in (escape_markdown, escape_latex, escape_html)] == ["abc"] * 3
