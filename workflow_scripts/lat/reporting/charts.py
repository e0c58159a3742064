"""Plots of scores and losses, in colours that colour-blind readers can distinguish, also in greyscale print.

Scores are means over training seeds. Every figure with intervals says below its panels what they are computed from.
All figures have the width of a column of a paper, where their texts have the size of its footnotes. They become higher
with the number of systems, models or panels.
"""

import logging
import math
import re
import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import offset_copy

from ..evaluation.ranking import MINIMUM_SEEDS
from ..languages import split_direction
from ..names import AVERAGE, REFERENCE, SHARED

# Width of a column of a paper with two columns, in inches. Its page shows figures at this width without scaling.
COLUMN_WIDTH = 3.3
# Sizes of texts in points: those of axes, and those of notes and of numbers within a panel.
TEXT_SIZE, SMALL_SIZE = 7, 6
# Letters that an inch holds in a text of the small size.
LETTERS_PER_INCH = 20

# Colours are those of the palette of Okabe and Ito, some of them lighter. Series also differ in hatches, markers,
# dashes or lightness, so that they can be told apart in greyscale print.

# Colour, marker and line of each kind of direction, and dashes of the line of its reference translations.
SUPERVISION_STYLES = {"zero-shot": ("#0072B2", "o", ":"), "supervised": ("#F0C875", "s", "--")}
# Column of the step log, label, colour and dashes of each loss.
LOSSES = (
    ("likelihood_loss", "likelihood", "#0072B2", "-"),
    ("unlikelihood_loss", "unlikelihood", "#D55E00", "--"),
    ("preference_loss", "preference (per pair)", "#009E73", ":"),
)
SERIES_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
SERIES_DASHES = ("-", "--", "-.", ":")
MARKERS = "os^Dv*PXph"
# Columns that tell the means over directions apart.
MEAN_KEY = ("base_model", "benchmark", "system", "supervision", "metric")
# Label, colour and hatch of each language of off-target lines, in the order of the stacked bars. The colours of hatched
# bars are light, so that the hatches are visible.
OFF_TARGET_LANGUAGES = {
    "source": ("the source language", "#0072B2", ""),
    "english": ("English", "#E69F00", "////"),
    "other": ("another language", "#AAAAAA", "...."),
    "empty": ("none (empty line)", "#FFFFFF", ""),
    "no_words": ("none (no words)", "#CCDDEE", "xxxx"),
}

plt.rcParams |= {
    "font.size": TEXT_SIZE,
    "axes.titlesize": TEXT_SIZE,
    "axes.labelsize": TEXT_SIZE,
    "legend.fontsize": TEXT_SIZE,
    "xtick.labelsize": TEXT_SIZE,
    "ytick.labelsize": TEXT_SIZE,
    "axes.linewidth": 0.6,
    "grid.linewidth": 0.5,
    "lines.linewidth": 1,
    "lines.markersize": 3.5,
    "hatch.linewidth": 0.5,
    **{
        f"{axis}tick.major.{part}": value
        for axis in "xy"
        for part, value in (("width", 0.6), ("size", 2.5), ("pad", 2))
    },
    "axes.labelpad": 2,
    "axes.titlepad": 3,
    "legend.handlelength": 1.6,
    "legend.columnspacing": 1.2,
    "legend.handletextpad": 0.5,
    "legend.labelspacing": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "axes.axisbelow": True,
    "svg.hashsalt": "figures",
    "svg.fonttype": "none",
    # Publishers refuse Type 3 fonts, which are the default.
    "pdf.fonttype": 42,
    # Names and titles are shown as they are; `$` begins no formula.
    "text.parse_math": False,
    "text.usetex": False,
}
# The library that embeds fonts reports every table of a font, a hundred lines per figure.
logging.getLogger("fontTools").setLevel(logging.WARNING)
# Characters that no XML document, and therefore no SVG file, can have.
NOT_IN_XML = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def _drawable(text: str) -> str:
    """Return a text of the config without the characters that a figure cannot show."""
    return NOT_IN_XML.sub("\ufffd", text)


def off_target_figure(scores: pd.DataFrame, intervals: pd.DataFrame, summary: pd.DataFrame) -> Figure:
    """Draw the mean OTR and BLEU of every system as dots with intervals, with one row of panels per experiment.

    Each system has one dot for its zero-shot and one for its supervised directions: the mean over directions and seeds
    with its 95 % interval, and one small point per seed if there are several. The lines in an OTR panel show the OTR of
    the reference translations, which is the error rate of language identification itself: an OTR below it is not
    meaningful.

    Args:
        scores: all scores, one per row.
        intervals: scores of each run and their means over directions.
        summary: means over seeds of these, with the bounds `low` and `high` of their 95 % intervals.
    """
    means = summary[summary.direction == AVERAGE]
    of_seeds = _values_of_seeds(intervals)
    references = scores[(scores.system == REFERENCE) & (scores.metric == "OTR")]
    experiments = list(means.groupby(["base_model", "benchmark"], sort=False))
    heights = [0.45 + 0.24 * experiment.system.nunique() for _, experiment in experiments]
    figure, axes = plt.subplots(
        len(experiments),
        2,
        figsize=(COLUMN_WIDTH, 0.95 + sum(heights)),
        squeeze=False,
        sharey="row",
        layout="constrained",
        height_ratios=heights,
    )
    for panels, ((base_model, benchmark), experiment) in zip(axes, experiments, strict=True):
        for axis, metric, label in zip(panels, ("OTR", "BLEU"), ("off-target ratio (%)", "BLEU"), strict=True):
            _dots(axis, experiment[experiment.metric == metric], of_seeds)
            axis.set_xlabel(label)
        panels[1].tick_params(axis="y", length=0)
        panels[0].set_title(f"{base_model} on {benchmark}", loc="left")
        of_experiment = references[(references.base_model == base_model) & (references.benchmark == benchmark)]
        for kind, ratio in of_experiment.groupby("supervision", sort=False).value.mean().items():
            panels[0].axvline(ratio, color="black", linestyle=SUPERVISION_STYLES[str(kind)][2], linewidth=0.7)
    handles: list[Artist] = [
        Line2D([], [], linestyle="", label=kind, **_point_style(colour, marker, 5))
        for kind, (colour, marker, _) in SUPERVISION_STYLES.items()
    ]
    handles += [
        Line2D([], [], color="black", linestyle=dashes, linewidth=0.7, label=f"references, {kind}")
        for kind, (*_, dashes) in SUPERVISION_STYLES.items()
    ]
    figure.legend(handles=handles, frameon=False, loc="outside upper left", ncols=2)
    _add_note(figure, scores, _describe_intervals("Bars", summary))
    return figure


def _dots(axis: Axes, means: pd.DataFrame, of_seeds: Mapping[tuple[str, ...], Sequence[float]]) -> None:
    """Draw the dots and intervals of one metric of one experiment.

    Args:
        axis: the panel.
        means: the rows of their means.
        of_seeds: the means of the single seeds by the values of `MEAN_KEY`.
    """
    systems = list(dict.fromkeys(means.system))
    kinds = [kind for kind in SUPERVISION_STYLES if kind in set(means.supervision)]
    step = 0.4
    for number, kind in enumerate(kinds):
        colour, marker, _ = SUPERVISION_STYLES[kind]
        of_kind = means[means.supervision == kind]
        positions = [row + (number - (len(kinds) - 1) / 2) * step for row in range(len(systems))]
        # Drawn as lines, since an interval that was resampled need not contain the mean, as error bars must.
        axis.hlines(positions, of_kind.low, of_kind.high, color="black", linewidth=0.7, zorder=3, clip_on=False)
        for bounds in (of_kind.low, of_kind.high):
            axis.plot(bounds, positions, linestyle="", marker="|", color="black", markersize=3, zorder=3, clip_on=False)
        style: dict[str, Any] = {"linestyle": "", "clip_on": False}
        axis.plot(of_kind["mean"], positions, zorder=4, **style, **_point_style(colour, marker, 4.5))
        for y, row in zip(positions, of_kind.to_dict("records"), strict=True):
            points = of_seeds[tuple(row[column] for column in MEAN_KEY)]
            if len(points) > 1:
                axis.plot(points, [y] * len(points), zorder=5, **style, **_point_style("white", "o", 1.8))
    axis.set_yticks(range(len(systems)), systems)
    axis.set_ylim(len(systems) - 0.5, -0.5)
    axis.set_xlim(left=0)
    axis.grid(axis="y", visible=False)


def _values_of_seeds(intervals: pd.DataFrame) -> dict[tuple[str, ...], list[float]]:
    """Return the means over directions of all runs of each system, by the values of `MEAN_KEY`."""
    found: dict[tuple[str, ...], list[float]] = {}
    for row in intervals[intervals.direction == AVERAGE].to_dict("records"):
        found.setdefault(tuple(row[column] for column in MEAN_KEY), []).append(row["value"])
    return found


def _point_style(colour: str, marker: str = "o", size: float = 3) -> dict[str, Any]:
    """Return the style of a point with a black edge."""
    return {
        "marker": marker,
        "markersize": size,
        "markerfacecolor": colour,
        "markeredgecolor": "black",
        "markeredgewidth": 0.5,
    }


def _add_note(figure: Figure, scores: pd.DataFrame, intervals: str = "") -> None:
    """Write below the panels of a figure how many test lines and seeds it is based on.

    Args:
        figure: the figure.
        scores: all scores that it shows, one per row.
        intervals: what its intervals are, as a sentence; empty if it shows none.
    """
    sentences = []
    counts = [int(n) for n in scores[scores.metric == "OTR"].n]
    if counts:
        sentences.append(f"n = {_range(counts)} test lines per direction.")
    seeds = _numbers_of_seeds(scores)
    if seeds:
        several = max(seeds) > 1
        sentences.append(f"Means over {_range(seeds)} training seeds." if several else "Scores of one training seed.")
        sentences += ["Points: single seeds."] if intervals and several else []
    sentences += [intervals] if intervals else []
    text = textwrap.fill(" ".join(sentences), round(LETTERS_PER_INCH * figure.get_figwidth()))
    figure.supxlabel(text, x=0.01, ha="left", fontsize=SMALL_SIZE, color="#444444")


def _numbers_of_seeds(scores: pd.DataFrame) -> list[int]:
    """Return the number of seeds of each experiment that has any."""
    trained = scores[scores.seed != SHARED]
    return [len(set(experiment.seed)) for _, experiment in trained.groupby(["base_model", "benchmark"], sort=False)]


def _range(numbers: Collection[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _describe_intervals(name: str, summary: pd.DataFrame) -> str:
    """Return a sentence about what the intervals of a figure are.

    Args:
        name: what shows the intervals.
        summary: the means that it shows, with their numbers of seeds in the column `seeds`.
    """
    enough = summary.seeds.astype(int) >= MINIMUM_SEEDS
    alone = "95 % intervals over resamples of the test lines, which do not cover the variation between training seeds"
    if not enough.any():
        return f"{name}: {alone}."
    of_means = f"{name}: 95 % intervals of the mean over seeds"
    return f"{of_means}." if enough.all() else f"{of_means}; of systems with fewer than {MINIMUM_SEEDS} runs: {alone}."


def losses_figure(logs: Mapping[str, Mapping[str, pd.DataFrame]]) -> Figure:
    """Draw the losses of all trainings by step, with one panel per model and one line per seed and loss.

    Lines show running means. A model with one seed also has thin lines, which show the logged values.

    Args:
        logs: step logs by the title of the panel and the seed.
    """
    columns = 1 if len(logs) < 2 else 2
    rows = max(1, math.ceil(len(logs) / columns))
    figure, axes = plt.subplots(
        rows, columns, figsize=(COLUMN_WIDTH, 0.5 + 1.4 * rows), squeeze=False, layout="constrained"
    )
    for axis in axes.flat[len(logs) :]:
        axis.set_visible(False)
    seeds = list(dict.fromkeys(seed for runs in logs.values() for seed in runs))
    drawn: set[str] = set()
    for axis, (title, runs) in zip(axes.flat, logs.items(), strict=False):
        highest = 0.0
        for number, (seed, log) in enumerate(runs.items()):
            for column, label, colour, dashes in LOSSES:
                if column not in log or (column == "unlikelihood_loss" and not (log[column] > 0).any()):
                    continue
                drawn.add(label)
                mean = log[column].rolling(max(1, len(log) // 40), min_periods=1).mean()
                # More points than these are no difference in a panel of this size, but make large files.
                thinned = sorted({*range(0, len(log), max(1, len(log) // 400)), len(log) - 1})
                (line,) = axis.plot(log.step.iloc[thinned], mean.iloc[thinned], color=colour, linestyle=dashes)
                highest = max(highest, mean.max())
                if len(runs) == 1:
                    axis.plot(log.step, log[column], color=colour, alpha=0.25, linewidth=0.7)
                    highest = max(highest, log[column].max())
                else:
                    # The markers of different seeds lie at different steps, so that none hides another.
                    every = max(1, len(thinned) // 5)
                    line.set(linewidth=1, markevery=(number * every // len(runs), every))
                    line.set(**_point_style(colour, MARKERS[seeds.index(seed) % len(MARKERS)]))
        axis.set_title(_wrapped(_drawable(title), columns), loc="left")
        axis.set_xlabel("step")
        axis.set_ylabel("loss (nats per token)")
        axis.set_ylim(0, 1.08 * highest)
    handles: list[Artist] = [
        Line2D([], [], color=colour, linestyle=dashes, label=label)
        for _, label, colour, dashes in LOSSES
        if label in drawn
    ]
    if any(len(runs) > 1 for runs in logs.values()):
        several = dict.fromkeys(seed for runs in logs.values() if len(runs) > 1 for seed in runs)
        handles += [
            Line2D([], [], linestyle="", label=f"seed {seed}", **_point_style("white", MARKERS[seeds.index(seed) % 10]))
            for seed in several
        ]
    if handles:
        # There is no room for more entries in one row.
        figure.legend(handles=handles, frameon=False, loc="outside upper left", ncols=min(len(handles), 4))
    return figure


def selections_figure(selections: Mapping[str, Mapping[str, tuple[pd.DataFrame, int]]]) -> Figure:
    """Draw OTR and chrF++ of the snapshots of each training in the dev directions, with one row of panels per model.

    Thick lines are means over seeds, thin lines single seeds, and a point is the step that a seed chose. Step 0 is the
    model before the training, which cannot be chosen.

    Args:
        selections: by the title of the panels and the seed, the means over the dev directions, with the columns
            `step`, `OTR` and `chrF++`, and the chosen step.
    """
    figure, axes = plt.subplots(
        len(selections),
        2,
        figsize=(COLUMN_WIDTH, 0.5 + 1.5 * len(selections)),
        squeeze=False,
        sharex="row",
        layout="constrained",
    )
    seeds = list(dict.fromkeys(seed for runs in selections.values() for seed in runs))
    for panels, (title, runs) in zip(axes, selections.items(), strict=True):
        curves = pd.concat([curve for curve, _ in runs.values()])
        for axis, metric, unit in zip(panels, ("OTR", "chrF++"), ("off-target ratio (%)", "chrF++"), strict=True):
            mean = curves.groupby("step")[metric].mean()
            axis.plot(mean.index, mean, color=SERIES_COLOURS[0], linewidth=1.6, zorder=3)
            for seed, (curve, chosen) in runs.items():
                if len(runs) > 1:
                    axis.plot(curve.step, curve[metric], color=SERIES_COLOURS[0], alpha=0.45, linewidth=0.6)
                value = curve[curve.step == chosen][metric]
                style = _point_style(SERIES_COLOURS[1], MARKERS[seeds.index(seed) % len(MARKERS)], 4.5)
                axis.plot([chosen], value, linestyle="", zorder=4, clip_on=False, **style)
            axis.set_xlabel("step")
            axis.set_ylabel(unit)
        panels[0].set_ylim(bottom=0)
        panels[0].set_title(_drawable(title), loc="left")
    handles = [
        Line2D(
            [], [], color=SERIES_COLOURS[0], linewidth=1.6, label="mean over seeds" if len(seeds) > 1 else "snapshots"
        )
    ]
    handles += [
        Line2D(
            [],
            [],
            linestyle="",
            label=f"chosen, seed {seed}" if len(seeds) > 1 else "chosen",
            **_point_style(SERIES_COLOURS[1], MARKERS[number % len(MARKERS)], 4.5),
        )
        for number, seed in enumerate(seeds)
    ]
    figure.legend(handles=handles, frameon=False, loc="outside upper left", ncols=min(3, len(handles)))
    return figure


def heat_map_figure(scores: pd.DataFrame) -> Figure:
    """Draw the OTR of every direction, averaged over seeds, as heat maps, with one panel per system.

    Rows are source languages, columns are target languages. The figure is wider than a column of a paper if there are
    so many languages that their numbers would not fit.

    Args:
        scores: all scores, one per row.
    """
    ratios = scores[scores.metric == "OTR"]
    keys = ["base_model", "benchmark", "system"]
    panels = list(ratios.groupby([*keys, "direction"], sort=False).value.mean().reset_index().groupby(keys, sort=False))
    count = max((len(_languages(panel.direction)) for _, panel in panels), default=1)
    columns = min(2 if count <= 6 else 1, max(1, len(panels)))
    rows = max(1, -(-len(panels) // columns))
    side = max(COLUMN_WIDTH / columns - 0.5, 0.18 * count)
    size = max(COLUMN_WIDTH, columns * (side + 0.5)), 0.75 + (side + 0.45) * rows
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, ((base_model, benchmark, system), rows_of_system) in zip(axes.flat, panels, strict=False):
        sources, targets = zip(*map(split_direction, rows_of_system.direction), strict=True)
        pairs = rows_of_system.assign(source=sources, target=targets)
        languages = _languages(rows_of_system.direction)
        wide = pairs.pivot(index="source", columns="target", values="value").reindex(index=languages, columns=languages)
        # A light-to-dark map remains readable in greyscale print.
        image = axis.imshow(wide, cmap=plt.get_cmap("Blues").with_extremes(bad="#eeeeee"), vmin=0, vmax=100)
        for y, of_source in enumerate(wide.to_numpy().tolist()):
            for x, ratio in enumerate(of_source):
                if not math.isnan(ratio):
                    colour = "white" if ratio > 55 else "black"
                    axis.text(x, y, f"{ratio:.0f}", ha="center", va="center", color=colour, fontsize=SMALL_SIZE)
        axis.set_xticks(range(len(languages)), languages)
        axis.set_yticks(range(len(languages)), languages)
        axis.set_xlabel("target")
        axis.set_ylabel("source")
        axis.set_title(_wrapped(f"{base_model} on {benchmark}: {system}", columns), loc="left")
        axis.grid(visible=False)
    if panels:
        figure.colorbar(image, ax=axes, label="off-target ratio (%)", location="bottom", shrink=0.7, aspect=30)
    _add_note(figure, scores)
    return figure


def _wrapped(title: str, columns: int) -> str:
    """Return the title of a panel in lines that are no longer than it, for this number of panels side by side."""
    return textwrap.fill(title, 44 // columns)


def _languages(directions: Iterable[str]) -> list[str]:
    """Return the languages of some directions: those of all sources, then those that are targets only."""
    sources, targets = zip(*map(split_direction, directions), strict=True)
    return list(dict.fromkeys([*sources, *targets]))


def off_target_languages_figure(scores: pd.DataFrame) -> Figure:
    """Draw the languages of the off-target lines of each system, averaged over seeds, as stacked bars.

    There is one panel per experiment and kind of direction (zero-shot or supervised).

    Args:
        scores: all scores, one per row.
    """
    shares = scores[scores.metric.isin([f"OTR-{kind}" for kind in OFF_TARGET_LANGUAGES])]
    panels = list(shares.groupby(["base_model", "benchmark", "supervision"], sort=False))
    # Within an experiment, zero-shot directions come first, as in the tables.
    experiments = [panel[0][:2] for panel in panels]
    panels.sort(key=lambda panel: (experiments.index(panel[0][:2]), panel[0][2] != "zero-shot"))
    heights = [0.5 + 0.15 * rows_of_panel.system.nunique() for _, rows_of_panel in panels] or [1.0]
    figure, axes = plt.subplots(
        len(heights),
        1,
        figsize=(COLUMN_WIDTH, 0.75 + sum(heights)),
        squeeze=False,
        layout="constrained",
        height_ratios=heights,
    )
    axes.flat[0].set_visible(bool(panels))
    for axis, ((base_model, benchmark, supervision), rows_of_panel) in zip(axes.flat, panels, strict=False):
        # Every run has all directions, so that the mean over both at once is the mean over seeds.
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
        axis.set_title(f"{base_model} on {benchmark}: {supervision}", loc="left")
        axis.grid(axis="y", visible=False)
    if panels:
        handles, labels = axes.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, frameon=False, loc="outside upper left", ncols=2)
    _add_note(figure, scores)
    return figure


def study_figure(
    label: str,
    series: Mapping[str, Sequence[tuple[float, tuple[str, str, str]]]],
    scores: pd.DataFrame,
    intervals: pd.DataFrame,
    summary: pd.DataFrame,
) -> Figure:
    """Draw mean scores against the values of one setting, with one line per series and bands for 95 % intervals.

    The panels show OTR of zero-shot directions, BLEU of zero-shot directions and BLEU of supervised directions. If a
    system has several seeds, each is a small point.

    Args:
        label: label of the horizontal axis.
        series: the points of each series, by its name: the value of the setting, then base model, benchmark and system.
        scores: all scores, one per row.
        intervals: scores of each run and their means over directions.
        summary: means over seeds of these, with the bounds `low` and `high` of their 95 % intervals.
    """
    systems = {system for points in series.values() for _, system in points}
    scores, summary = (
        frame.loc[[names in systems for names in frame[list(MEAN_KEY[:3])].itertuples(index=False, name=None)]]
        for frame in (scores, summary)
    )
    means = {
        tuple(row[column] for column in MEAN_KEY): row
        for row in summary[summary.direction == AVERAGE].to_dict("records")
    }
    of_seeds = _values_of_seeds(intervals)
    figure, axes = plt.subplots(3, 1, figsize=(COLUMN_WIDTH, 5.2), layout="constrained")
    panels = (
        ("OTR", "zero-shot", "off-target ratio (%)"),
        ("BLEU", "zero-shot", "BLEU"),
        ("BLEU", "supervised", "BLEU"),
    )
    handles = {}
    for axis, (metric, supervision, unit) in zip(axes, panels, strict=True):
        for number, (name, points) in enumerate(series.items()):
            keys_of_points = [(x, (*system, supervision, metric)) for x, system in sorted(points)]
            found = [(x, key, means[key]) for x, key in keys_of_points if key in means]
            if not found:
                continue
            values = [x for x, *_ in found]
            colour, marker = SERIES_COLOURS[number % len(SERIES_COLOURS)], MARKERS[number % len(MARKERS)]
            dashes = SERIES_DASHES[number % len(SERIES_DASHES)]
            (handles[_drawable(name)],) = axis.plot(
                values, [row["mean"] for *_, row in found], color=colour, linestyle=dashes, marker=marker, zorder=3
            )
            axis.fill_between(
                values,
                [row["low"] for *_, row in found],
                [row["high"] for *_, row in found],
                color=colour,
                alpha=0.15,
                linewidth=0,
            )
            for x, key, _ in found:
                runs = of_seeds[key]
                if len(runs) > 1:
                    # Points stand beside the marker of the mean, and those of different series side by side.
                    beside = offset_copy(axis.transData, figure, x=6 + 4 * number, units="points")
                    style = _point_style("white", marker)
                    axis.plot([x] * len(runs), runs, linestyle="", transform=beside, zorder=4, **style)
        axis.set_xlabel(_drawable(label))
        axis.set_ylabel(unit)
        axis.set_title(f"{supervision}: {metric}", loc="left")
        axis.margins(x=0.1)
        axis.set_ylim(bottom=0)
    if len(series) > 1 and handles:
        # Labels are given here, since a legend leaves out lines whose own label begins with an underscore.
        figure.legend(handles.values(), handles.keys(), frameon=False, loc="outside upper left", ncols=2)
    _add_note(figure, scores, _describe_intervals("Bands", summary))
    return figure
