"""Comparison with the published scores."""

from workflow_scripts.lat.reporting.paper import COLUMNS, Names, comparison, comparison_markdown, published

ROW = {"base_model": "mine", "benchmark": "ted", "supervision": "zero-shot", "metric": "BLEU"}
NAMES = Names({"ted": "table2_iwslt"}, {"mine": "LLaMA2"}, {"MT": "MT", "Mine": "Ours"})


def row(system: str, direction: str, value: float, spread: float = 0.5, **other: str) -> dict[str, str]:
    values = {"value": value, "low": value - spread, "high": value + spread}
    return ROW | {"system": system, "direction": direction} | {k: str(v) for k, v in values.items()} | other


def test_published_scores_are_found_by_name():
    table = published("table2_iwslt")
    assert table["LLaMA2", "MT", "BLEU", "it-nl"] == 7.9
    assert table["LLaMA2", "MT", "BLEU", "AVG"] == 5.0


def test_only_scores_that_both_have_are_compared():
    intervals = [
        row("MT", "it-nl", 8.2),
        row("MT", "nl-it", 9.0),
        row("MT", "AVG", 4.0),
        row("MT", "AVG", 30.0, supervision="supervised"),
        row("Theirs", "it-nl", 8.2),
        row("MT", "it-nl", 8.2, base_model="other"),
        row("MT", "it-nl", 8.2, benchmark="other"),
    ]
    rows = comparison(intervals, NAMES)
    assert all(list(found) == list(COLUMNS) for found in rows)
    assert [(found["direction"], found["difference"], found["relation"]) for found in rows] == [
        ("it-nl", "0.3", "within"),
        ("nl-it", "0.7", "above"),
        ("AVG", "-1.0", "below"),
    ]
    text = comparison_markdown(rows)
    assert "| MT | +0.3 | *+0.7* | *-1.0* |" in text


def test_a_system_is_compared_under_its_name_in_the_paper():
    (found,) = comparison([row("Mine", "it-nl", 8.2)], NAMES)
    assert found["system"] == "Mine"
    assert float(found["paper"]) == published("table2_iwslt")["LLaMA2", "Ours", "BLEU", "it-nl"]


def test_a_run_without_published_scores_says_so():
    assert "No experiment" in comparison_markdown(comparison([row("MT", "it-nl", 1.0)], Names({}, {}, {})))
