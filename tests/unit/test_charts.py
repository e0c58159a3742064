"""Plots show the values of the tables."""

import io
import itertools

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from made_up import DIRECTIONS, PARTS, SYSTEMS, make_experiment, make_results
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from workflow_scripts.figures import read_logs, read_points, read_selections
from workflow_scripts.lat.files import InputError, write_table
from workflow_scripts.lat.reporting.charts import (
    heat_map_figure,
    losses_figure,
    off_target_figure,
    off_target_languages_figure,
    selections_figure,
    study_figure,
)
from workflow_scripts.lat.reporting.page import Results
from workflow_scripts.lat.reporting.reading import Experiment
from workflow_scripts.lat.training.loop import STEP_COLUMNS

TRAINED = [system for system, (_, is_trained) in SYSTEMS.items() if is_trained]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def results() -> Results:
    """Two experiments, of which the first has three seeds and the other has one."""
    return make_results([make_experiment("tiny", 3), make_experiment("other", 1)])


def draw_off_target(results: Results) -> Figure:
    return off_target_figure(results.scores, results.intervals, results.summary)


def averages(frame: pd.DataFrame, **values: str) -> pd.DataFrame:
    """Return the means over directions in a frame that have these values."""
    values |= {"direction": "AVG"}
    return frame[(frame[list(values)] == list(values.values())).all(axis=1)]


def points_of(axis, size: float) -> list[list[float]]:
    """Return the values of all points of a size: 4.5 for means, 1.8 for the single seeds of each mean."""
    return [list(line.get_xdata()) for line in axis.lines if line.get_markersize() == size]


def note_of(figure: Figure) -> str:
    return " ".join(figure.get_supxlabel().split())


def test_each_experiment_has_a_row_of_panels_with_the_means_over_seeds_as_dots(results):
    figure = draw_off_target(results)
    assert len(figure.axes) == 4
    for axis, (base_model, metric) in zip(
        figure.axes, [(name, metric) for name in ("tiny", "other") for metric in ("OTR", "BLEU")], strict=True
    ):
        # The panels of a row share their labels, which stand at the first one.
        labels = [label.get_text() for label in axis.get_yticklabels()]
        assert labels == (list(SYSTEMS) if metric == "OTR" else [])
        means = [
            list(averages(results.summary, base_model=base_model, metric=metric, supervision=kind)["mean"])
            for kind in ("zero-shot", "supervised")
        ]
        assert points_of(axis, 4.5) == means
        assert metric in axis.get_xlabel() or axis.get_xlabel() == "off-target ratio (%)"
    assert figure.axes[2].get_title(loc="left") == "other on demo"


def grey(colour: str) -> float:
    """Return the lightness of a colour in greyscale print, from 0 to 1."""
    red, green, blue = to_rgb(colour)
    return 0.299 * red + 0.587 * green + 0.114 * blue


def test_series_are_told_apart_in_grey(results):
    first, second = [line for line in draw_off_target(results).axes[0].lines if line.get_markersize() == 4.5]
    assert first.get_marker() != second.get_marker()
    assert abs(grey(first.get_markerfacecolor()) - grey(second.get_markerfacecolor())) > 0.3
    bars = off_target_languages_figure(results.scores).axes[0].containers
    assert len({(bar[0].get_hatch(), round(grey(bar[0].get_facecolor()[:3]), 1)) for bar in bars}) == len(PARTS)


@pytest.mark.parametrize("systems", [2, 22])
def test_figures_have_the_width_of_a_column_and_no_labels_collide(monkeypatch, systems):
    names = dict.fromkeys([*SYSTEMS, *(f"LAT-0.{number:02}" for number in range(14))][:systems], SYSTEMS["LAT"])
    monkeypatch.setattr("made_up.SYSTEMS", names)
    found = make_results([make_experiment("tiny", 3), make_experiment("other", 1)])
    point = [(float(number), ("tiny", "demo", name)) for number, name in enumerate(names)]
    for figure in (
        draw_off_target(found),
        off_target_languages_figure(found.scores),
        heat_map_figure(found.scores[(found.scores.base_model == "tiny") & found.scores.system.isin([*names][:5])]),
        losses_figure({f"tiny on demo: {name}": {"1": STAGE2, "2": STAGE2} for name in [*names][:5]}),
        draw_study({"LAT": point, "other": point}, found),
        selections_figure({f"tiny on demo: {name}": {str(k): (CURVE, 10) for k in range(5)} for name in [*names][:2]}),
    ):
        assert figure.get_figwidth() == 3.3
        renderer = figure.canvas.get_renderer()
        figure.draw(renderer)
        texts = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
        for axis in filter(lambda axis: axis.get_visible(), figure.axes):
            labels = [label for label in axis.get_yticklabels() if label.get_text()]
            boxes = sorted((label.get_window_extent(renderer) for label in labels), key=lambda box: box.y0)
            assert all(low.y1 <= high.y0 for low, high in itertools.pairwise(boxes))
            assert axis.get_label() == "<colorbar>" or axis.get_window_extent(renderer).height > 40
            texts += [*labels, axis.xaxis.label, axis.yaxis.label, axis.title]
        for text in texts:
            box = text.get_window_extent(renderer)
            assert not text.get_text() or (box.x0 >= -1 and box.x1 <= figure.bbox.width + 1), text.get_text()
            assert text.get_fontsize() >= 6
        plt.close(figure)


def test_bars_are_the_intervals_of_the_summary(results):
    axis = draw_off_target(results).axes[1]
    expected = averages(results.summary, base_model="tiny", metric="BLEU", supervision="zero-shot")
    drawn = [path[:, 0] for path in axis.collections[0].get_segments()]
    assert drawn == [pytest.approx(bounds) for bounds in zip(expected.low, expected.high, strict=True)]


def test_each_seed_is_a_point_if_there_are_several(results):
    several, _, single, _ = draw_off_target(results).axes
    expected = averages(results.intervals, base_model="tiny", metric="OTR", supervision="zero-shot")
    points = points_of(several, 1.8)
    assert len(points) == 2 * len(TRAINED)
    assert points[: len(TRAINED)] == [list(expected[expected.system == system].value) for system in TRAINED]
    assert points_of(single, 1.8) == []


def test_the_note_says_what_points_and_bars_are(results):
    assert note_of(draw_off_target(results)) == (
        "n = 240 test lines per direction. Means over 1 to 3 training seeds. Points: single seeds. Bars: 95 %"
        " intervals of the mean over seeds; of systems with fewer than 3 runs: 95 % intervals over resamples of the"
        " test lines, which do not cover the variation between training seeds."
    )
    single = make_results([make_experiment("tiny", 1)])
    assert note_of(draw_off_target(single)) == (
        "n = 240 test lines per direction. Scores of one training seed. Bars: 95 % intervals over resamples of"
        " the test lines, which do not cover the variation between training seeds."
    )
    trained = make_results([Experiment("tiny", "demo", {"MT": ("1", "2", "3"), "LAT": ("1", "2", "3")}, DIRECTIONS)])
    assert note_of(draw_off_target(trained)).endswith("Bars: 95 % intervals of the mean over seeds.")
    untrained = make_results([Experiment("tiny", "demo", {"Base": ("shared",)}, DIRECTIONS)])
    assert note_of(heat_map_figure(untrained.scores)) == "n = 240 test lines per direction."
    shorter = single.scores.assign(n=["200" if name == "it-nl" else "1200" for name in single.scores.direction])
    assert note_of(heat_map_figure(shorter)).startswith("n = 200 to 1,200 test lines per direction.")


def test_only_the_off_target_panel_shows_the_ratio_of_the_references_as_lines(results):
    off_target, bleu = draw_off_target(results).axes[:2]
    lines = [line for line in off_target.lines if line.get_linestyle() != "None"]
    assert [line.get_xdata()[0] for line in lines] == [1.0, 1.0]
    assert len({line.get_linestyle() for line in lines}) == 2
    assert all(line.get_linestyle() == "None" for line in bleu.lines)


STEPS = pd.DataFrame({"step": [1.0, 2.0], "likelihood_loss": [3.0, 2.0], "unlikelihood_loss": [0.0, 0.0]})
STAGE2 = STEPS.assign(unlikelihood_loss=[9.0, 1.0])


def test_unlikelihood_loss_is_drawn_only_for_stage_two():
    figure = losses_figure({"mt": {"1": STEPS}, "lat": {"1": STAGE2}})
    first, second = figure.axes
    # One running mean and one line of logged values per loss.
    assert len(first.lines) == 2 and len(second.lines) == 4
    assert second.get_ylim()[1] > 9.0
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["likelihood", "unlikelihood"]


def test_the_preference_loss_takes_the_place_of_the_unlikelihood_loss():
    log = STEPS.drop(columns="unlikelihood_loss").assign(preference_loss=[0.7, 0.5])
    figure = losses_figure({"lat": {"1": STAGE2}, "orpo": {"1": log}})
    assert [list(line.get_ydata()) for line in figure.axes[1].lines[2:]] == [[0.7, 0.5]] * 2
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["likelihood", "unlikelihood", "preference (per pair)"]


def test_the_runs_of_a_model_share_a_panel_with_one_line_per_seed_and_loss():
    logs = {"lat": {"1": STAGE2, "2": STAGE2.assign(likelihood_loss=[8.0, 7.0])}, "mt": {"shared": STEPS}}
    figure = losses_figure(logs)
    several, single = figure.axes[:2]
    assert [list(line.get_ydata()) for line in several.lines] == [[3, 2], [9, 1], [8, 7], [9, 1]]
    assert [line.get_marker() for line in several.lines] == ["o", "o", "s", "s"]
    assert [line.get_linestyle() for line in several.lines] == ["-", "--", "-", "--"]
    assert all(line.get_marker() == "None" for line in single.lines)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["likelihood", "unlikelihood", "seed 1", "seed 2"]


@pytest.mark.parametrize(("models", "columns"), [(1, 1), (2, 2), (4, 2), (9, 2), (20, 2)])
def test_many_models_have_panels_of_the_same_size_side_by_side(models, columns):
    figure = losses_figure({str(number): {str(seed): STAGE2 for seed in range(5)} for number in range(models)})
    visible = [axis for axis in figure.axes if axis.get_visible()]
    assert len(visible) == models and visible[0].get_gridspec().ncols == columns
    figure.canvas.draw()
    sizes = {tuple(axis.get_window_extent().size.round()) for axis in visible}
    assert len(sizes) == 1 and min(sizes.pop()) > 80


def test_no_training_run_gives_an_empty_figure():
    assert not any(axis.get_visible() for axis in losses_figure({}).axes)


def test_long_logs_are_thinned_to_the_last_step():
    steps = range(1, 10_001)
    log = pd.DataFrame({"step": steps, "likelihood_loss": [1.0] * 10_000, "unlikelihood_loss": [0.0] * 10_000})
    line = losses_figure({"mt": {"1": log.astype(float)}}).axes[0].lines[0]
    assert len(line.get_xdata()) < 500 and line.get_xdata()[-1] == 10_000


CURVE = pd.DataFrame({"step": [0.0, 10.0, 20.0], "OTR": [60.0, 4.0, 2.0], "chrF++": [20.0, 40.0, 36.0]})


def test_curves_of_snapshots_have_the_mean_over_seeds_and_the_step_of_each():
    other = CURVE.assign(OTR=[40.0, 2.0, 4.0])
    figure = selections_figure(
        {"tiny on demo: lat-best": {"1": (CURVE, 10), "2": (other, 20)}, "alone": {"1": (CURVE, 20)}}
    )
    ratio, quality, *single = figure.axes
    mean, *of_seeds = ratio.lines
    assert list(mean.get_xdata()) == [0, 10, 20] and list(mean.get_ydata()) == [50, 3, 3]
    assert [list(line.get_ydata()) for line in of_seeds] == [[60, 4, 2], [4], [40, 2, 4], [4]]
    points = [(line.get_xdata()[0], line.get_ydata()[0]) for line in quality.lines if len(line.get_xdata()) == 1]
    assert points == [(10, 40), (20, 36)]
    assert [len(axis.lines) for axis in single] == [2, 2]
    assert ratio.get_title(loc="left") == "tiny on demo: lat-best" and quality.get_ylabel() == "chrF++"
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["mean over seeds", "chosen, seed 1", "chosen, seed 2"]
    one = selections_figure({"alone": {"1": (CURVE, 20)}})
    assert [text.get_text() for text in one.legends[0].get_texts()] == ["snapshots", "chosen"]


def test_curves_are_read_with_the_chosen_step(tmp_path):
    rows = [row | {"direction": name} for row in CURVE.to_dict("records") for name in ("it-nl", "AVG")]
    write_table(tmp_path / "curve.tsv", rows, ["step", "direction", "OTR", "chrF++"])
    flags = ("tiny on demo: lat-best", "1", str(tmp_path / "curve.tsv"), str(tmp_path / "choice.json"))
    (tmp_path / "choice.json").write_text('{"step": 20}')
    found = read_selections([flags, ("other", *flags[1:])])
    assert list(found) == ["tiny on demo: lat-best", "other"]
    means, chosen = found["other"]["1"]
    pd.testing.assert_frame_equal(means, CURVE)
    assert chosen == 20
    for text, message in (
        ('{"step": 15}', "choice.json: step 15 has no scores in"),
        ("{}", "not what the step select"),
    ):
        (tmp_path / "choice.json").write_text(text)
        with pytest.raises(InputError, match=message):
            read_selections([flags])


def test_heat_maps_show_the_mean_of_every_direction_and_leave_the_diagonal_empty(results):
    figure = heat_map_figure(results.scores)
    panels = [axis for axis in figure.axes if axis.get_visible() and axis.texts]
    titles = [axis.get_title(loc="left") for axis in panels]
    assert titles[:2] == ["tiny on demo: Base", "tiny on demo: MT"] and titles[-1] == "other on demo:\nreference"
    scores = results.scores[(results.scores.base_model == "tiny") & (results.scores.metric == "OTR")]
    means = scores[scores.system == "MT"].groupby("direction").value.mean()
    assert sorted(text.get_text() for text in panels[1].texts) == sorted(f"{mean:.0f}" for mean in means)
    assert len(panels[1].texts) == 12


def test_shares_of_the_languages_of_off_target_lines_add_up_to_the_mean_ratio(results):
    figure = off_target_languages_figure(results.scores)
    panel = figure.axes[0]
    assert panel.get_title(loc="left") == "tiny on demo: zero-shot"
    ends = [bar.get_x() + bar.get_width() for bar in panel.containers[-1]]
    means = averages(results.summary, base_model="tiny", metric="OTR", supervision="zero-shot")["mean"]
    assert ends == pytest.approx([*means, 1.0])
    assert len(figure.legends[0].get_texts()) == len(PARTS) == 5


def draw_study(series, results: Results, label: str = "steps") -> Figure:
    return study_figure(label, series, results.scores, results.intervals, results.summary)


def test_a_study_is_drawn_in_the_order_of_the_values_with_intervals_and_seeds(results):
    points = [(100.0, ("tiny", "demo", "LAT")), (0.0, ("tiny", "demo", "MT")), (50.0, ("tiny", "demo", "PTL"))]
    others = [(0.0, ("tiny", "demo", "Base")), (50.0, ("other", "demo", "PTL"))]
    figure = draw_study({"LAT": points, "other": others}, results)
    panel = figure.axes[0]
    rows = averages(results.summary, base_model="tiny", metric="OTR", supervision="zero-shot").set_index("system")
    rows = rows.loc[["MT", "PTL", "LAT"]]
    first, *seeds, other = [line for line in panel.lines if len(line.get_xdata()) > 1]
    assert list(first.get_xdata()) == [0, 50, 100]
    assert list(first.get_ydata()) == list(rows["mean"])
    assert len(seeds) == 3
    for line, x, system in zip(seeds, (0, 50, 100), rows.index, strict=True):
        runs = averages(results.intervals, base_model="tiny", metric="OTR", supervision="zero-shot", system=system)
        assert list(line.get_xdata()) == [x] * 3 and list(line.get_ydata()) == list(runs.value)
    assert (first.get_linestyle(), first.get_marker()) != (other.get_linestyle(), other.get_marker())
    assert [axis.get_title(loc="left") for axis in figure.axes] == [
        "zero-shot: OTR",
        "zero-shot: BLEU",
        "supervised: BLEU",
    ]
    band = panel.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == rows.low.min() and band[:, 1].max() == rows.high.max()
    assert "Bands: 95 % intervals of the mean over seeds; of systems with fewer than 3 runs" in note_of(figure)
    assert note_of(draw_study({"LAT": points}, results)).endswith("Bands: 95 % intervals of the mean over seeds.")


MATH = "$x_1$ in $ and $\\frac{"
TEXTS = [MATH, '<b> & "c"', "_hidden", "half \ud800", "bell \x07"]


def texts_of(figure: Figure) -> str:
    for kind in ("png", "pdf"):
        figure.savefig(io.BytesIO(), format=kind)
    svg = io.BytesIO()
    figure.savefig(svg, format="svg")
    return svg.getvalue().decode()


@pytest.mark.filterwarnings("ignore:Glyph")
def test_texts_of_the_config_are_drawn_as_they_are():
    results = make_results([Experiment("tiny", "demo", {"MT": ("1", "2")}, {"it-nl": "zero-shot"})])
    point = [(1.0, ("tiny", "demo", "MT"))]
    study = texts_of(draw_study(dict.fromkeys(TEXTS, point), results, MATH))
    losses = texts_of(losses_figure({text: {"1": STEPS, "2": STEPS} for text in TEXTS}))
    for svg in (study, losses):
        for text in (MATH, '&lt;b&gt; &amp; "c"', "_hidden", "half \ufffd", "bell \ufffd"):
            assert f">{text}<" in svg
    scores, intervals, summary = (
        frame.replace({"base_model": {"tiny": MATH}, "system": {"MT": MATH}})
        for frame in (results.scores, results.intervals, results.summary)
    )
    for figure in (off_target_figure(scores, intervals, summary), heat_map_figure(scores)):
        assert MATH in texts_of(figure)


EXPERIMENT = Experiment("tiny", "demo", {"MT": ("1", "2"), "LAT": ("1", "2")}, {"it-nl": "zero-shot"})


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


def test_logs_are_grouped_by_title_and_seed(tmp_path):
    row = dict.fromkeys(STEP_COLUMNS, "1") | {"step": "1"}
    write_table(tmp_path / "steps.tsv", [row], STEP_COLUMNS)
    path = str(tmp_path / "steps.tsv")
    found = read_logs([("m b: mt", "1", path), ("m: language model", "shared", path), ("m b: mt", "2", path)])
    assert {title: list(runs) for title, runs in found.items()} == {
        "m b: mt": ["1", "2"],
        "m: language model": ["shared"],
    }
    with pytest.raises(InputError, match=r"steps.tsv is the second log of m b: mt with the seed 1; remove one"):
        read_logs([("m b: mt", "1", path), ("m b: mt", "1", path)])


def test_fonts_of_pdf_files_are_not_of_type_3(results):
    content = io.BytesIO()
    draw_off_target(results).savefig(content, format="pdf")
    assert b"/Type0" in content.getvalue() and b"/Type3" not in content.getvalue()
