"""Comparison with the published scores."""

import pytest

from workflow_scripts.lat.files import InputError
from workflow_scripts.lat.reporting import paper
from workflow_scripts.lat.reporting.paper import COLUMNS, Names, comparison, comparison_markdown, published

ROW = {"base_model": "mine", "benchmark": "ted", "supervision": "zero-shot", "metric": "BLEU"}
NAMES = Names({"ted": "table2_iwslt"}, {"mine": "LLaMA2"}, {"MT": "MT", "Mine": "Ours"})


def row(system: str, direction: str, value: float, spread: float = 0.5, **other: str) -> dict[str, str]:
    values = {"mean": value, "low": value - spread, "high": value + spread, "seeds": 3}
    return ROW | {"system": system, "direction": direction} | {k: str(v) for k, v in values.items()} | other


def test_published_scores_are_found_by_name():
    table = published("table2_iwslt")
    assert table["LLaMA2", "MT", "BLEU", "it-nl"] == 7.9
    assert table["LLaMA2", "MT", "BLEU", "AVG"] == 5.0


def test_only_scores_that_both_have_are_compared():
    summary = [
        row("MT", "it-nl", 8.2),
        row("MT", "nl-it", 9.0),
        row("MT", "AVG", 4.0),
        row("MT", "AVG", 30.0, supervision="supervised"),
        row("Theirs", "it-nl", 8.2),
        row("MT", "it-nl", 8.2, base_model="other"),
        row("MT", "it-nl", 8.2, benchmark="other"),
    ]
    rows = comparison(summary, NAMES)
    assert all(list(found) == list(COLUMNS) for found in rows)
    assert [(found["direction"], found["difference"], found["relation"]) for found in rows] == [
        ("it-nl", "0.3", "within"),
        ("nl-it", "0.7", "above"),
        ("AVG", "-1.0", "below"),
    ]
    text = comparison_markdown(rows)
    assert "| System | Seeds | it-nl | nl-it | AVG |" in text
    assert "| MT | 3 | +0.3 | *+0.7* | *-1.0* |" in text
    assert text.endswith("this run, which covers training variance if there are three or more seeds.\n")


def test_means_over_seeds_are_compared_by_their_own_interval():
    wide, narrow = (comparison([row("MT", "nl-it", 9.0, spread, seeds="5")], NAMES)[0] for spread in (0.9, 0.5))
    assert (wide["relation"], narrow["relation"]) == ("within", "above")
    assert wide | {"relation": "above", "low": "8.5", "high": "9.5"} == narrow
    assert (wide["score"], wide["low"], wide["high"], wide["seeds"]) == ("9.0", "8.1", "9.9", "5")


def test_names_are_no_markup():
    names = Names(NAMES.tables, {"_mine_": "LLaMA2"}, {"a|b": "MT"})
    text = comparison_markdown(comparison([row("a|b", "it-nl", 9.0, base_model="_mine_")], names))
    assert r"**\_mine\_ on ted: BLEU, this run - paper**" in text and r"| a\|b | 3 | *+1.1* |" in text


def test_a_damaged_table_of_the_paper_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(paper, "PAPER", tmp_path)
    text = "base_model\tsystem\tmetric\tdirection\tvalue\n" + "LLaMA2\tMT\tBLEU\tit-nl\t7.9\n" * 2
    (tmp_path / "table2_iwslt.tsv").write_text(text)
    with pytest.raises(InputError, match="lines 2 and 3 are both about LLaMA2, MT, BLEU, it-nl; restore the file"):
        comparison([], NAMES)


def test_a_system_is_compared_under_its_name_in_the_paper():
    (found,) = comparison([row("Mine", "it-nl", 8.2)], NAMES)
    assert found["system"] == "Mine"
    assert float(found["paper"]) == published("table2_iwslt")["LLaMA2", "Ours", "BLEU", "it-nl"]


def test_a_run_without_published_scores_says_so():
    assert "No experiment" in comparison_markdown(comparison([row("MT", "it-nl", 1.0)], Names({}, {}, {})))
