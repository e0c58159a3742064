"""Plots of scores and losses, in colours that colour-blind readers can distinguish, also in greyscale print."""

import re
from collections.abc import Mapping, Sequence

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ..languages import split_direction
from ..names import AVERAGE, REFERENCE

# Colours of the palette of Okabe and Ito.
SUPERVISION_COLOURS = {"zero-shot": "#D55E00", "supervised": "#0072B2"}
LIKELIHOOD, UNLIKELIHOOD = "#0072B2", "#D55E00"
SERIES_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
# Label, colour and hatch of each language of off-target lines, in the order of the stacked bars. The colours of hatched
# bars are light, so that the hatches are visible.
OFF_TARGET_LANGUAGES = {
    "source": ("the source language", "#0072B2", ""),
    "english": ("English", "#E69F00", "//"),
    "other": ("another language", "#999999", ".."),
    "empty": ("none (empty line)", "#FFFFFF", ""),
    "no_words": ("none (no words)", "#CCDDEE", "xx"),
}

plt.rcParams |= {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "axes.axisbelow": True,
    "svg.hashsalt": "figures",
    "svg.fonttype": "none",
    # Names and titles are shown as they are; `$` begins no formula.
    "text.parse_math": False,
    "text.usetex": False,
}
# Characters that no XML document, and therefore no SVG file, can have.
NOT_IN_XML = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def _drawable(text: str) -> str:
    """Return a text of the config without the characters that a figure cannot show."""
    return NOT_IN_XML.sub("\ufffd", text)


def off_target_figure(scores: pd.DataFrame) -> Figure:
    """Draw the mean OTR and BLEU of every system as bars, with one row of panels per experiment.

    Each system has one bar for its zero-shot and one for its supervised directions. The dotted lines in an OTR panel
    show the OTR of the reference translations, which is the error rate of language identification itself: an OTR below
    it is not meaningful.

    Args:
        scores: all scores, one per row.
    """
    experiments = list(scores.groupby(["base_model", "benchmark"], sort=False))
    figure, axes = plt.subplots(
        len(experiments), 2, figsize=(10, 0.6 + 3.6 * len(experiments)), squeeze=False, layout="constrained"
    )
    for panels, ((base_model, benchmark), experiment) in zip(axes, experiments, strict=True):
        for axis, metric, label in zip(panels, ("OTR", "BLEU"), ("off-target ratio (%)", "BLEU"), strict=True):
            rows_of_metric = experiment[experiment.metric == metric]
            _bars(axis, rows_of_metric.groupby(["system", "supervision"], sort=False).value.mean().unstack())
            axis.set_xlabel(f"{label}, mean over directions")
            axis.set_title(f"{base_model} on {benchmark}: {label}", loc="left", fontsize=10)
    handles = [Patch(color=colour, label=kind) for kind, colour in SUPERVISION_COLOURS.items()]
    figure.legend(handles=handles, frameon=False, loc="outside upper right", ncols=len(handles))
    return figure


def _bars(axis: Axes, means: pd.DataFrame) -> None:
    systems = [system for system in means.index if system != REFERENCE]
    kinds = [kind for kind in SUPERVISION_COLOURS if kind in means.columns]
    height = 0.8 / len(kinds)
    for number, kind in enumerate(kinds):
        values = means.loc[systems, kind]
        positions = [row + (number - (len(kinds) - 1) / 2) * height for row in range(len(systems))]
        bars = axis.barh(positions, values, height, color=SUPERVISION_COLOURS[kind], label=kind)
        axis.bar_label(bars, fmt="%.1f", padding=2, fontsize=8)
        if REFERENCE in means.index:
            axis.axvline(float(means[kind][REFERENCE]), color=SUPERVISION_COLOURS[kind], linestyle=":", linewidth=1)
    axis.set_yticks(range(len(systems)), systems)
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    axis.margins(x=0.12)


def losses_figure(logs: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw likelihood and unlikelihood loss by step, with one panel per training run.

    Thin lines show the logged values, thick lines a running mean.

    Args:
        logs: step log of each training run, by the title of its panel.
    """
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
        axis.set_title(_drawable(title), loc="left", fontsize=10)
        axis.set_xlabel("step")
        axis.set_ylabel("loss (nats per token)")
        axis.set_ylim(0, 1.08 * max(log[column].max() for column, *_ in drawn))
        axis.legend(frameon=False)
    return figure


def heat_map_figure(scores: pd.DataFrame) -> Figure:
    """Draw the OTR of every direction as heat maps, with one panel per system.

    Rows are source languages, columns are target languages.

    Args:
        scores: all scores, one per row.
    """
    ratios = scores[scores.metric == "OTR"]
    panels = list(ratios.groupby(["base_model", "benchmark", "system"], sort=False))
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(3.3 * columns + 0.8, 3.1 * rows), squeeze=False, layout="constrained"
    )
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, ((base_model, benchmark, system), rows_of_system) in zip(axes.flat, panels, strict=False):
        sources, targets = zip(*map(split_direction, rows_of_system.direction), strict=True)
        pairs = rows_of_system.assign(source=sources, target=targets)
        languages = list(dict.fromkeys([*pairs.source, *pairs.target]))
        wide = pairs.pivot(index="source", columns="target", values="value").reindex(index=languages, columns=languages)
        # A light-to-dark map remains readable in greyscale print.
        image = axis.imshow(wide, cmap=plt.get_cmap("Blues").with_extremes(bad="#eeeeee"), vmin=0, vmax=100)
        for y, source in enumerate(languages):
            for x, target in enumerate(languages):
                ratio = wide.loc[source, target]
                if pd.notna(ratio):
                    colour = "white" if ratio > 55 else "black"
                    axis.text(x, y, f"{ratio:.0f}", ha="center", va="center", color=colour, fontsize=8)
        axis.set_xticks(range(len(languages)), languages)
        axis.set_yticks(range(len(languages)), languages)
        axis.set_xlabel("target")
        axis.set_ylabel("source")
        axis.set_title(f"{system} ({base_model}, {benchmark})", loc="left", fontsize=9)
        axis.grid(visible=False)
    if panels:
        figure.colorbar(image, ax=axes, label="off-target ratio (%)", shrink=0.6)
    return figure


def off_target_languages_figure(scores: pd.DataFrame) -> Figure:
    """Draw the languages of the off-target lines of each system as stacked bars.

    There is one panel per experiment and kind of direction (zero-shot or supervised).

    Args:
        scores: all scores, one per row.
    """
    shares = scores[scores.metric.isin([f"OTR-{kind}" for kind in OFF_TARGET_LANGUAGES])]
    panels = list(shares.groupby(["base_model", "benchmark", "supervision"], sort=False))
    figure, axes = plt.subplots(
        max(1, len(panels) // 2 + len(panels) % 2),
        2,
        figsize=(10, 0.6 + 1.7 * max(2, len(panels))),
        squeeze=False,
        layout="constrained",
    )
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    # Within an experiment, zero-shot directions come first, as in the tables.
    experiments = [panel[0][:2] for panel in panels]
    panels.sort(key=lambda panel: (experiments.index(panel[0][:2]), panel[0][2] != "zero-shot"))
    for axis, ((base_model, benchmark, supervision), rows_of_panel) in zip(axes.flat, panels, strict=False):
        means = rows_of_panel.groupby(["system", "metric"], sort=False).value.mean().unstack()
        systems = list(means.index)
        left = pd.Series(0.0, index=means.index)
        for kind, (label, colour, hatch) in OFF_TARGET_LANGUAGES.items():
            share = means[f"OTR-{kind}"]
            axis.barh(
                systems, share, left=left, color=colour, hatch=hatch, edgecolor="black", linewidth=0.5, label=label
            )
            left += share
        axis.invert_yaxis()
        axis.set_xlim(0, 100)
        axis.set_xlabel("share of lines (%), mean over directions")
        axis.set_title(f"{base_model} on {benchmark}: {supervision}", loc="left", fontsize=10)
        axis.grid(axis="y", visible=False)
    if panels:
        handles, labels = axes.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, frameon=False, loc="outside upper right", ncols=len(labels))
    return figure


def study_figure(
    label: str, series: Mapping[str, Sequence[tuple[float, tuple[str, str, str]]]], intervals: pd.DataFrame
) -> Figure:
    """Draw mean scores against the values of one setting, with one line per series and bands for 95 % intervals.

    The panels show OTR of zero-shot directions, BLEU of zero-shot directions and BLEU of supervised directions.

    Args:
        label: label of the horizontal axis.
        series: the points of each series, by its name: the value of the setting, then base model, benchmark and system.
        intervals: scores and their means over directions, with the bounds `low` and `high` of their 95 % intervals.
    """
    means = {
        (row["base_model"], row["benchmark"], row["system"], row["supervision"], row["metric"]): row
        for row in intervals[intervals.direction == AVERAGE].to_dict("records")
    }
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.4), layout="constrained")
    panels = (
        ("OTR", "zero-shot", "off-target ratio (%)"),
        ("BLEU", "zero-shot", "BLEU"),
        ("BLEU", "supervised", "BLEU"),
    )
    for axis, (metric, supervision, unit) in zip(axes, panels, strict=True):
        handles = {}
        for number, (name, points) in enumerate(series.items()):
            keys = [(x, (*system, supervision, metric)) for x, system in sorted(points)]
            found = [(x, means[key]) for x, key in keys if key in means]
            if not found:
                continue
            values = [x for x, _ in found]
            colour = SERIES_COLOURS[number % len(SERIES_COLOURS)]
            scores = [row["value"] for _, row in found]
            (handles[_drawable(name)],) = axis.plot(values, scores, color=colour, marker="os^Dv*"[number % 6])
            axis.fill_between(
                values,
                [row["low"] for _, row in found],
                [row["high"] for _, row in found],
                color=colour,
                alpha=0.15,
                linewidth=0,
            )
        axis.set_xlabel(_drawable(label))
        axis.set_ylabel(unit)
        axis.set_title(f"{supervision}: {metric}", loc="left", fontsize=10)
        axis.set_ylim(bottom=0)
        if len(series) > 1 and handles:
            # Labels are given here, since a legend leaves out lines whose own label begins with an underscore.
            axis.legend(handles.values(), handles.keys(), frameon=False)
    return figure
