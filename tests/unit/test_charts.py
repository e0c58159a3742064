"""Plots show the values of the tables."""

import pandas as pd
import pytest

from workflow_scripts.lat.reporting.charts import (
    heat_map_figure,
    losses_figure,
    off_target_figure,
    off_target_languages_figure,
    study_figure,
)


@pytest.fixture
def scores() -> pd.DataFrame:
    rows = [
        (base_model, "demo", system, supervision, direction, metric, value)
        for base_model in ("tiny", "other")
        for system, value in (("MT", 60.0), ("LAT", 10.0))
        for supervision, direction in (("zero-shot", "it-nl"), ("zero-shot", "nl-it"), ("supervised", "en-it"))
        for metric in ("BLEU", "OTR")
    ]
    rows += [
        (base_model, "demo", "reference", supervision, direction, "OTR", 0.5)
        for base_model in ("tiny", "other")
        for supervision, direction in (("zero-shot", "it-nl"), ("supervised", "en-it"))
    ]
    columns = ["base_model", "benchmark", "system", "supervision", "direction", "metric", "value"]
    return pd.DataFrame(rows, columns=columns)


def test_each_experiment_has_a_row_of_panels_with_the_means_as_bars(scores):
    figure = off_target_figure(scores)
    assert len(figure.axes) == 4
    for axis in figure.axes:
        assert [label.get_text() for label in axis.get_yticklabels()] == ["MT", "LAT"]
        assert sorted(bar.get_width() for bar in axis.patches) == [10.0, 10.0, 60.0, 60.0]
        assert axis.get_xlabel()
    assert "other on demo" in figure.axes[2].get_title(loc="left")


def test_only_the_off_target_panel_shows_the_ratio_of_the_references_as_a_line(scores):
    off_target, bleu = off_target_figure(scores).axes[:2]
    assert {line.get_xdata()[0] for line in off_target.lines} == {0.5}
    assert not bleu.lines


def test_unlikelihood_loss_is_drawn_only_for_stage_two():
    steps = pd.DataFrame({"step": [1.0, 2.0], "likelihood_loss": [3.0, 2.0], "unlikelihood_loss": [0.0, 0.0]})
    stage2 = steps.assign(unlikelihood_loss=[9.0, 1.0])
    first, second = losses_figure({"mt": steps, "lat": stage2}).axes
    assert [text.get_text() for text in first.get_legend().get_texts()] == ["likelihood"]
    assert [text.get_text() for text in second.get_legend().get_texts()] == ["likelihood", "unlikelihood"]
    assert second.get_ylim()[1] > 9.0


def test_heat_maps_show_every_direction_and_leave_the_diagonal_empty(scores):
    figure = heat_map_figure(scores)
    panels = [axis for axis in figure.axes if axis.get_visible() and axis.texts]
    assert [axis.get_title(loc="left") for axis in panels[:2]] == ["MT (tiny, demo)", "LAT (tiny, demo)"]
    assert sorted(text.get_text() for text in panels[0].texts) == ["60", "60", "60"]
    assert sorted(text.get_text() for text in panels[1].texts) == ["10", "10", "10"]


def test_shares_of_the_languages_of_off_target_lines_add_up_to_the_ratio(scores):
    shares = [
        otr.assign(metric=f"OTR-{kind}", value=otr.value * share)
        for otr in [scores[scores.metric == "OTR"]]
        for kind, share in (("source", 0.5), ("english", 0.25), ("other", 0.125), ("empty", 0.0), ("no_words", 0.125))
    ]
    figure = off_target_languages_figure(pd.concat([scores, *shares]))
    assert figure.axes[0].get_title(loc="left") == "tiny on demo: zero-shot"
    ends = [bar.get_x() + bar.get_width() for bar in figure.axes[0].containers[-1]]
    assert ends == [60.0, 10.0, 0.5][: len(ends)]
    assert len(figure.legends[0].get_texts()) == 5


def test_a_study_is_drawn_in_the_order_of_the_values_with_intervals():
    rows = [
        ("tiny", "demo", system, supervision, "AVG", metric, value, value - 1, value + 1)
        for system, value in (("MT", 50.0), ("LAT-50", 20.0), ("LAT", 5.0))
        for supervision in ("zero-shot", "supervised")
        for metric in ("BLEU", "OTR")
    ]
    columns = ["base_model", "benchmark", "system", "supervision", "direction", "metric", "value", "low", "high"]
    points = [(100.0, ("tiny", "demo", "LAT")), (0.0, ("tiny", "demo", "MT")), (50.0, ("tiny", "demo", "LAT-50"))]
    figure = study_figure("steps", {"LAT": points}, pd.DataFrame(rows, columns=columns))
    line = figure.axes[0].lines[0]
    assert list(line.get_xdata()) == [0, 50, 100]
    assert list(line.get_ydata()) == [50, 20, 5]
    assert [axis.get_title(loc="left") for axis in figure.axes] == [
        "zero-shot: OTR",
        "zero-shot: BLEU",
        "supervised: BLEU",
    ]
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == 4 and band[:, 1].max() == 51
