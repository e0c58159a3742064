"""Plots show the values of the tables."""

import io

import pandas as pd
import pytest
from matplotlib.figure import Figure

from workflow_scripts.figures import read_points
from workflow_scripts.lat.files import InputError
from workflow_scripts.lat.reporting.charts import (
    heat_map_figure,
    losses_figure,
    off_target_figure,
    off_target_languages_figure,
    study_figure,
)
from workflow_scripts.lat.reporting.reading import Experiment


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


MATH = "$x_1$ in $ and $\\frac{"
TEXTS = [MATH, '<b> & "c"', "_hidden", "half \ud800", "bell \x07"]


def texts_of(figure: Figure) -> str:
    for kind in ("png", "pdf"):
        figure.savefig(io.BytesIO(), format=kind)
    svg = io.BytesIO()
    figure.savefig(svg, format="svg")
    return svg.getvalue().decode()


@pytest.mark.filterwarnings("ignore:Glyph")
def test_texts_of_the_config_are_drawn_as_they_are(scores):
    rows = [("tiny", "demo", "MT", "zero-shot", "AVG", "OTR", 50.0, 49.0, 51.0)]
    columns = ["base_model", "benchmark", "system", "supervision", "direction", "metric", "value", "low", "high"]
    point = [(1.0, ("tiny", "demo", "MT"))]
    study = texts_of(study_figure(MATH, dict.fromkeys(TEXTS, point), pd.DataFrame(rows, columns=columns)))
    steps = pd.DataFrame({"step": [1.0, 2.0], "likelihood_loss": [3.0, 2.0], "unlikelihood_loss": [0.0, 0.0]})
    losses = texts_of(losses_figure(dict.fromkeys(TEXTS, steps)))
    for svg in (study, losses):
        for text in (MATH, '&lt;b&gt; &amp; "c"', "_hidden", "half \ufffd", "bell \ufffd"):
            assert f">{text}<" in svg
    names = scores.replace({"base_model": {"tiny": MATH}, "system": {"MT": MATH}})
    for figure in (off_target_figure(names), heat_map_figure(names)):
        assert MATH in texts_of(figure)


EXPERIMENT = Experiment("tiny", "demo", ("MT", "LAT"), {"it-nl": "zero-shot"})


def test_points_of_a_study_are_systems_of_the_run_at_numbers():
    study = {"name": "steps", "label": "steps", "series": {"-a=b": {"0": "tiny/demo/MT", "1e2": "tiny/demo/LAT"}}}
    found = read_points(study, [EXPERIMENT])
    assert found == {"-a=b": [(0.0, ("tiny", "demo", "MT")), (100.0, ("tiny", "demo", "LAT"))]}


@pytest.mark.parametrize(
    ("value", "system", "message"),
    [
        ("many", "tiny/demo/LAT", "studies.steps.series.LAT.many: `many` is no number"),
        ("nan", "tiny/demo/LAT", "studies.steps.series.LAT.nan: `nan` is no number"),
        ("1", "tiny/demo/PTL", "studies.steps.series.LAT.1: no experiment has the system tiny/demo/PTL"),
    ],
)
def test_other_points_of_a_study_are_refused(value, system, message):
    with pytest.raises(InputError, match=message):
        read_points({"name": "steps", "label": "steps", "series": {"LAT": {value: system}}}, [EXPERIMENT])
