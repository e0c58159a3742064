"""The results in README.md are those of the committed tables."""

import tarfile

import pytest

from tests.conftest import ROOT
from workflow_scripts.lat.files import InputError, read_table
from workflow_scripts.lat.reporting.readme import main, result_table, sentence, with_results


def test_the_results_in_the_readme_are_those_of_the_tables():
    tables = ROOT / "docs" / "demo"
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert with_results(text, result_table(tables), sentence(tables)) == text
    assert result_table(tables).count("\n") == 6 and " ± " in result_table(tables)


@pytest.mark.parametrize(
    ("page", "systems"),
    [
        ("stage2-rivals", ["MT", "MT-continued", "MT-boost", "LAT-instruction", "LAT-instruction-100", "LAT"]),
        (
            "second-run",
            ["MT", "MT-continued-100", "ORPO", "Post-ins", "LAT", "LAT-confusion", "LAT-100", "LAT+Post-ins"],
        ),
        ("stage1", ["MT-9", "MT-18", "MT-28", "MT"]),
    ],
)
def test_the_results_of_a_page_are_those_of_its_table(page, systems):
    folder = ROOT / "docs" / "results"
    found = {
        (row["supervision"], row["system"], row["metric"]): f"{float(row['mean']):.1f} ± {float(row['sd']):.1f}"
        for row in read_table(folder / page / "summary.tsv")
        if row["direction"] == "AVG" and row["sd"]
    }
    text = (folder / f"{page}.md").read_text(encoding="utf-8")
    zero_shot, supervised = text.split("**Supervised directions**")
    for supervision, part in (("zero-shot", zero_shot), ("supervised", supervised)):
        rows = [line.strip("| ").split(" | ") for line in part.splitlines() if " ± " in line and line.startswith("|")]
        assert [row[0] for row in rows] == systems
        for system, *values in rows:
            assert values[:3] == [found[supervision, system, metric] for metric in ("BLEU", "chrF++", "OTR")]


def test_the_published_outputs_are_those_of_the_systems_and_seeds_of_their_table():
    folder = ROOT / "docs" / "results" / "second-run"
    runs = {(row["system"], row["seed"], row["direction"]) for row in read_table(folder / "intervals.tsv")}
    with tarfile.open(folder / "outputs.tar.xz") as archive:
        lines = {
            tuple(member.name.removesuffix(".txt").split("/")): archive.extractfile(member).read().count(b"\n")
            for member in archive
            if member.isfile()
        }
    assert set(lines) == {
        ("outputs", system, f"seed{seed}", direction) for system, seed, direction in runs if direction != "AVG"
    }
    assert set(lines.values()) == {40}


@pytest.mark.parametrize(("page", "systems"), [("stage2-rivals", 6), ("second-run", 8)])
def test_the_ways_of_failing_are_those_of_their_file(page, systems):
    folder = ROOT / "docs" / "results"
    _, _, table, *_ = (folder / page / "failures.md").read_text(encoding="utf-8").split("\n\n")
    assert table.count("\n") == systems + 1 and table in (folder / f"{page}.md").read_text(encoding="utf-8")


def test_the_command_writes_the_results(tmp_path):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    changed = tmp_path / "README.md"
    changed.write_text(text.replace(result_table(ROOT / "docs" / "demo"), "old\n"), encoding="utf-8")
    assert changed.read_text(encoding="utf-8") != text
    main(["--tables", str(ROOT / "docs" / "demo"), "--readme", str(changed)])
    assert changed.read_text(encoding="utf-8") == text


def test_a_readme_without_the_comments_is_refused():
    with pytest.raises(InputError, match="lacks the lines"):
        with_results("# Title\n", "table", "sentence")
