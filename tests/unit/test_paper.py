"""Comparison with the published figures."""

from workflow_scripts.lat.reporting.paper import COLUMNS, comparison, comparison_markdown, published

ROW = {"base_model": "mine", "benchmark": "ted", "supervision": "zero-shot", "metric": "BLEU"}


def row(system: str, direction: str, value: float, spread: float = 0.5, **other: str) -> dict[str, str]:
    figures = {"value": value, "low": value - spread, "high": value + spread}
    return ROW | {"system": system, "direction": direction} | {k: str(v) for k, v in figures.items()} | other


def test_published_figures_are_found_by_name():
    table = published("table2_iwslt")
    assert table["LLaMA2", "MT", "BLEU", "it-nl"] == 7.9
    assert table["LLaMA2", "MT", "BLEU", "AVG"] == 5.0


def test_only_what_both_have_is_compared():
    intervals = [
        row("MT", "it-nl", 8.2),
        row("MT", "nl-it", 9.0),
        row("MT", "AVG", 4.0),
        row("MT", "AVG", 30.0, supervision="supervised"),
        row("Mine", "it-nl", 8.2),
        row("MT", "it-nl", 8.2, base_model="other"),
        row("MT", "it-nl", 8.2, benchmark="other"),
    ]
    rows = comparison(intervals, {"ted": "table2_iwslt"}, {"mine": "LLaMA2"})
    assert all(list(its) == list(COLUMNS) for its in rows)
    assert [(its["direction"], its["difference"], its["verdict"]) for its in rows] == [
        ("it-nl", "0.3", "within"),
        ("nl-it", "0.7", "above"),
        ("AVG", "-1.0", "below"),
    ]
    text = comparison_markdown(rows)
    assert "| MT | +0.3 | *+0.7* | *-1.0* |" in text


def test_a_run_of_something_else_says_so():
    assert "No experiment" in comparison_markdown(comparison([row("MT", "it-nl", 1.0)], {}, {}))
