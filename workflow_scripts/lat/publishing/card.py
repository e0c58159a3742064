"""The model card: metadata for the Hugging Face Hub, and a text with method, data, scores, use and limits."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from huggingface_hub import ModelCard, ModelCardData

from ..files import InputError, first_line
from ..languages import RESOURCES, language
from ..names import AVERAGE, SHARED
from .usage import Usage

TEMPLATE = RESOURCES / "card" / "card.md.j2"
CODE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
# Names of the metrics on the hub.
METRICS = {"BLEU": "bleu", "chrF++": "chrf"}
MAIN_METRICS = ("BLEU", "chrF++", "OTR")
OTR = "OTR"
SUPERVISIONS = ("supervised", "zero-shot")
Rows = Sequence[Mapping[str, str]]


class Scores(NamedTuple):
    """Tables of the run.

    Attributes:
        intervals: scores of each seed with intervals, rows of `results/significance/.../intervals.tsv`.
        summary: means over seeds, rows of `summary.tsv` in the same folder.
        references: off-target scores of the reference translations, rows of `results/detect/references/.../otr.tsv`.
        lines: number of test lines by direction.
    """

    intervals: Rows
    summary: Rows
    references: Rows
    lines: Mapping[str, int]


class Checked(NamedTuple):
    """What the check of the folder found.

    Attributes:
        compared: number of test lines that were translated with the lines of Python of the card.
        equal: how many of these translations are those of the workflow.
        direction: direction of the example of the card.
        source: its sentence.
        printed: what the lines of Python print for it.
        conversions: for each converted format, a sentence about it.
    """

    compared: int
    equal: int
    direction: str
    source: str
    printed: str
    conversions: Mapping[str, str]


def make_card(facts: Mapping[str, Any], usage: Usage, checked: Checked, scores: Scores, samples: int) -> str:
    """Return the text of the model card, with its metadata.

    Args:
        facts: what the config says of the model, see `card_facts` in `config/publishing.py`.
        usage: how the model is used.
        checked: what the check of the folder found.
        scores: tables of the run.
        samples: number of translations that the training data has.

    Raises:
        InputError: the tables lack the scores of the model.
    """
    name = (facts["repository"] or "").rpartition("/")[2] or f"{facts['model']} of {facts['base_model']}"
    data = ModelCardData(
        language=sorted({code.split("-")[0] for code in facts["languages"]}),
        license=facts["licence"],
        license_name="custom" if facts["licence"] == "other" else None,
        license_link="LICENSE" if facts["licence"] == "other" else (facts["terms"] or None),
        library_name="transformers",
        pipeline_tag="text-generation",
        base_model=facts["hub_id"],
        base_model_relation="finetune" if facts["hub_id"] else None,
        datasets=[row["hub"] for row in facts["data"] if "training" in row["use"] and row.get("hub")] or None,
        metrics=list(METRICS.values()),
        tags=["translation", "off-target", "language-aware-tuning", "arxiv:2403.14399"],
    )
    own = _rows(scores.intervals, facts["system"], facts["seed"])
    if not own:
        raise InputError(
            f"the table of intervals has no scores of {facts['system']}, seed {facts['seed']}; make it again"
        )
    texts: dict[str, Any] = {
        "name": name,
        "facts": facts,
        "languages": [(code, language(code).name) for code in facts["languages"]],
        "code": "\n".join(usage.code(checked.direction, checked.source)),
        "layout": usage.layout.format(source="{source}", target="{target}", text="{text}"),
        "chat": usage.writes_start,
        "checked": checked,
        "samples": samples,
        "trainings": [training | {"listed": _listed(training["settings"])} for training in facts["trainings"]],
        "by_direction": by_direction(own, scores.lines),
        "by_system": by_system(scores, facts),
        "over_seeds": over_seeds(scores.summary, facts["system"]) if facts["seeds"] > 1 else "",
        "lines": _span(scores.lines.values()),
        "error": _reference_error(scores.references),
        "data": _table(
            ["Use", "Text", "Origin", "Licence"],
            [[row["use"], row["name"], row["origin"], row["licence"]] for row in facts["data"]],
        ),
    }
    return ModelCard.from_template(data, str(TEMPLATE), None, **texts).content.rstrip() + "\n"


def check_card(text: str, usage: Usage, checked: Checked) -> None:
    """Check that the card has its metadata and exactly the lines of Python that were run.

    Raises:
        InputError: it does not.
    """
    try:
        data = ModelCard(text).data.to_dict()
    except (ValueError, TypeError) as error:
        raise InputError(f"README.md: its metadata cannot be read ({first_line(error)})") from None
    if not (data.get("license") and data.get("language")):
        raise InputError("README.md: its metadata lacks license or language")
    if code_of_card(text) != usage.code(checked.direction, checked.source):
        raise InputError("README.md: the prompts have characters that a block of code in a card cannot show")


def code_of_card(text: str) -> list[str]:
    """Return the lines of Python of a card."""
    found = CODE.search(text)
    return found[1].splitlines() if found else []


def by_direction(rows: Rows, lines: Mapping[str, int]) -> str:
    """Return a table of all scores of a model by direction, with their intervals."""
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    places = list(dict.fromkeys((row["supervision"], row["direction"]) for row in rows))
    values = {(row["supervision"], row["direction"], row["metric"]): _value(row) for row in rows}
    body = [
        [
            "mean" if direction == AVERAGE else direction,
            supervision,
            *(values.get((supervision, direction, metric), "") for metric in metrics),
            str(lines.get(direction, "")),
        ]
        for supervision, direction in places
    ]
    return _table(["Direction", "Kind", *metrics, "Lines"], body)


def by_system(scores: Scores, facts: Mapping[str, Any]) -> str:
    """Return a table of the mean scores of the model and of what it is compared with, in the same run."""
    kinds = [kind for kind in SUPERVISIONS if any(row["supervision"] == kind for row in scores.intervals)]
    body = []
    for system in (facts["system"], *facts["compared"]):
        rows = _rows(scores.intervals, system, facts["seed"])
        means = {(row["supervision"], row["metric"]): row for row in rows if row["direction"] == AVERAGE}
        cells = [means.get((kind, metric)) for kind in kinds for metric in MAIN_METRICS]
        body.append([system, *(_value(row) if row else "" for row in cells)])
    return _table(["System", *(f"{kind} {metric}" for kind in kinds for metric in MAIN_METRICS)], body)


def over_seeds(summary: Rows, system: str) -> str:
    """Return a table of the means of a system over all seeds, with standard deviations and intervals."""
    rows = [row for row in summary if row["system"] == system and row["direction"] == AVERAGE]
    body = [
        [row["supervision"], row["metric"], f"{_number(row, 'mean')} ± {_number(row, 'sd')}", _interval(row)]
        for row in rows
    ]
    return _table(["Kind", "Metric", "Mean ± standard deviation", "95 % interval"], body)


def _rows(rows: Rows, system: str, seed: int) -> list[Mapping[str, str]]:
    return [row for row in rows if row["system"] == system and row["seed"] in (str(seed), SHARED)]


def _value(row: Mapping[str, str]) -> str:
    return f"{_number(row, 'value')} {_interval(row)}"


def _interval(row: Mapping[str, str]) -> str:
    return f"[{_number(row, 'low')}, {_number(row, 'high')}]"


def _number(row: Mapping[str, str], column: str) -> str:
    """A value of a score; learned metrics may lie between 0 and 1."""
    decimals = 1 if row["metric"] in MAIN_METRICS else 3
    return f"{float(row[column]):.{decimals}f}" if row[column] else ""


def _reference_error(rows: Rows) -> str:
    """Return the share of reference translations that identification calls off target, in %: mean and range."""
    values = [float(row["value"]) for row in rows if row["metric"] == OTR and row["direction"] != AVERAGE]
    if not values:
        return ""
    return f"{sum(values) / len(values):.1f} % (by direction {min(values):.1f} to {max(values):.1f})"


def _span(counts: Iterable[int]) -> str:
    ordered = sorted(counts)
    return f"{ordered[0]}" if ordered[0] == ordered[-1] else f"{ordered[0]} to {ordered[-1]}"


def _listed(settings: Mapping[str, Any]) -> str:
    """Return settings of a training as text."""
    return ", ".join(f"{key.replace('_', ' ')} {_shown(value)}" for key, value in settings.items())


def _shown(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
