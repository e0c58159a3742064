"""Charts: what is drawn is what the tables hold."""

import pandas as pd
import pytest

from workflow_scripts.lat.charts import losses_figure, off_target_figure


@pytest.fixture
def scores() -> pd.DataFrame:
    rows = [
        (base_model, "demo", system, supervision, direction, metric, value)
        for base_model in ("tiny", "other")
        for system, value in (("MT", 60.0), ("Ours", 10.0))
        for supervision, direction in (("zero-shot", "it-nl"), ("zero-shot", "nl-it"), ("supervised", "en-it"))
        for metric in ("BLEU", "OTR")
    ]
    rows += [
        (base_model, "demo", "reference", supervision, "it-nl", "OTR", 0.5)
        for base_model in ("tiny", "other")
        for supervision in ("zero-shot", "supervised")
    ]
    columns = ["base_model", "benchmark", "system", "supervision", "direction", "metric", "value"]
    return pd.DataFrame(rows, columns=columns)


def test_a_row_of_panels_an_experiment_with_the_means_as_bars(scores):
    figure = off_target_figure(scores)
    assert len(figure.axes) == 4
    for axis in figure.axes:
        assert [label.get_text() for label in axis.get_yticklabels()] == ["MT", "Ours"]
        assert sorted(bar.get_width() for bar in axis.patches) == [10.0, 10.0, 60.0, 60.0]
        assert axis.get_xlabel()
    assert "other on demo" in figure.axes[2].get_title(loc="left")


def test_the_references_are_a_floor_of_the_off_target_panel_alone(scores):
    off_target, bleu = off_target_figure(scores).axes[:2]
    assert {line.get_xdata()[0] for line in off_target.lines} == {0.5}
    assert not bleu.lines


def test_losses_show_unlikelihood_only_where_it_was_trained():
    steps = pd.DataFrame({"step": [1.0, 2.0], "likelihood_loss": [3.0, 2.0], "unlikelihood_loss": [0.0, 0.0]})
    stage2 = steps.assign(unlikelihood_loss=[9.0, 1.0])
    first, second = losses_figure({"mt": steps, "lat": stage2}).axes
    assert [text.get_text() for text in first.get_legend().get_texts()] == ["likelihood"]
    assert [text.get_text() for text in second.get_legend().get_texts()] == ["likelihood", "unlikelihood"]
    assert second.get_ylim()[1] > 9.0
