"""Charts: off-target ratio beside BLEU for every system, and loss curves, in Okabe and Ito's colours."""

from collections.abc import Mapping

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from .tables import REFERENCE

SUPERVISION_COLOURS = {"zero-shot": "#D55E00", "supervised": "#0072B2"}
LIKELIHOOD, UNLIKELIHOOD = "#0072B2", "#D55E00"

plt.rcParams |= {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "axes.axisbelow": True,
    "svg.hashsalt": "figures",
    "svg.fonttype": "none",
}


def off_target_figure(scores: pd.DataFrame) -> Figure:
    """Bars of the average OTR and BLEU of every system, zero-shot and supervised, a row of panels an experiment.

    The dotted line in an OTR panel is the references' own ratio: below it a figure means nothing.
    """
    experiments = list(scores.groupby(["base_model", "benchmark"], sort=False))
    figure, axes = plt.subplots(
        len(experiments), 2, figsize=(10, 0.6 + 3.6 * len(experiments)), squeeze=False, layout="constrained"
    )
    for row, ((base_model, benchmark), experiment) in zip(axes, experiments, strict=True):
        for axis, metric, label in zip(row, ("OTR", "BLEU"), ("off-target ratio (%)", "BLEU"), strict=True):
            figures = experiment[experiment.metric == metric]
            _bars(axis, figures.groupby(["system", "supervision"], sort=False).value.mean().unstack())
            axis.set_xlabel(f"{label}, mean over directions")
            axis.set_title(f"{base_model} on {benchmark}: {label}", loc="left", fontsize=10)
    keys = [Patch(color=colour, label=kind) for kind, colour in SUPERVISION_COLOURS.items()]
    figure.legend(handles=keys, frameon=False, loc="outside upper right", ncols=len(keys))
    return figure


def _bars(axis: Axes, means: pd.DataFrame) -> None:
    systems = [system for system in means.index if system != REFERENCE]
    kinds = [kind for kind in SUPERVISION_COLOURS if kind in means.columns]
    height = 0.8 / len(kinds)
    for number, kind in enumerate(kinds):
        values = means.loc[systems, kind]
        places = [place + (number - (len(kinds) - 1) / 2) * height for place in range(len(systems))]
        bars = axis.barh(places, values, height, color=SUPERVISION_COLOURS[kind], label=kind)
        axis.bar_label(bars, fmt="%.1f", padding=2, fontsize=8)
        if REFERENCE in means.index:
            axis.axvline(float(means[kind][REFERENCE]), color=SUPERVISION_COLOURS[kind], linestyle=":", linewidth=1)
    axis.set_yticks(range(len(systems)), systems)
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    axis.margins(x=0.12)


def losses_figure(logs: Mapping[str, pd.DataFrame]) -> Figure:
    """Likelihood and unlikelihood loss by step, a panel a training; thin as logged, thick a running mean."""
    columns = min(2, max(1, len(logs)))
    rows = -(-max(1, len(logs)) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(5 * columns, 3 * rows), squeeze=False, layout="constrained")
    for axis in axes.flat[len(logs) :]:
        axis.set_visible(False)
    for axis, (title, log) in zip(axes.flat, logs.items(), strict=False):
        drawn = [("likelihood_loss", LIKELIHOOD, "likelihood")]
        if (log.unlikelihood_loss > 0).any():
            drawn.append(("unlikelihood_loss", UNLIKELIHOOD, "unlikelihood"))
        window = max(1, len(log) // 40)
        for column, colour, label in drawn:
            axis.plot(log.step, log[column], color=colour, alpha=0.25, linewidth=0.7)
            axis.plot(log.step, log[column].rolling(window, min_periods=1).mean(), color=colour, label=label)
        axis.set_title(title, loc="left", fontsize=10)
        axis.set_xlabel("step")
        axis.set_ylabel("loss (nats a token)")
        axis.set_ylim(0, 1.08 * max(log[column].max() for column, *_ in drawn))
        axis.legend(frameon=False)
    return figure
