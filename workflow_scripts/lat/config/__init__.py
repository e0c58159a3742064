"""Check the configuration before any job starts, and look up the settings of a step in it.

- `reading`: config files, read strictly.
- `schema`: keys, types and ranges of a single value.
- `benchmarks`, `base_models`, `systems`: references between entries, and the files that they name.
- `publishing`: the model to publish, and what its card says of it.
- `environment`: what is installed where Snakemake runs.
- `settings`: look-ups in a checked configuration.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..credentials import check_base_url, check_key_variable
from ..files import printable, read_table
from ..languages import RESOURCES
from .base_models import check_base_models, check_licences
from .benchmarks import check_benchmarks
from .environment import check_environment, check_nodes
from .mtdata_ids import check_mtdata, mtdata_warnings
from .publishing import Publication, card_facts, check_publish, publication
from .reading import check_config_files, command_line_config
from .schema import SCHEMA, check_schema
from .settings import (
    BEST,
    candidate_steps,
    controls_of,
    decode_settings,
    dev_sentences,
    keeps_weights,
    lower_is_better,
    model_of,
    needs_off_targets,
    rating_server,
    runs_of,
    saved_steps,
    seeds_of,
    server_settings,
    step_settings,
    used_models,
    zero_shot_of,
)
from .sweeps import expand_sweeps
from .systems import (
    add_external,
    add_systems,
    baseline_warnings,
    check_experiments,
    check_hypotheses,
    check_judge,
    check_metrics,
    check_models,
    check_studies,
    check_systems,
    hypotheses_files,
)

__all__ = [
    "BEST",
    "SCHEMA",
    "Publication",
    "baseline_warnings",
    "candidate_steps",
    "card_facts",
    "check_config",
    "check_config_files",
    "check_environment",
    "check_licences",
    "check_mtdata",
    "check_nodes",
    "command_line_config",
    "controls_of",
    "decode_settings",
    "dev_sentences",
    "hypotheses_files",
    "keeps_weights",
    "lower_is_better",
    "model_of",
    "mtdata_warnings",
    "needs_off_targets",
    "publication",
    "rating_server",
    "runs_of",
    "saved_steps",
    "seeds_of",
    "server_settings",
    "step_settings",
    "used_models",
    "zero_shot_of",
]


def check_config(config: dict[str, Any], root: Path) -> None:
    """Check a merged configuration, and bring it into the form that the rules read.

    Numbers get the type that the schema asks for, and every experiment gets the systems of `add_systems`. Checking a
    configuration twice changes nothing more.

    Args:
        config: the merged configuration; it is changed in place.
        root: the folder that relative paths start from.

    Raises:
        InputError: the configuration is not valid; the message is one line that names the key and the remedy.
    """
    _check_credentials(config)
    expand_sweeps(config)
    check_schema(config)
    add_systems(config)
    add_external(config)
    check_benchmarks(config, root)
    check_base_models(config, root, _paper_names("base_model"))
    check_models(config, root)
    check_systems(config, _paper_names("system"))
    check_experiments(config)
    check_hypotheses(config, root)
    check_judge(config, root)
    check_studies(config)
    check_metrics(config, root)
    check_publish(config, root)


def _check_credentials(config: Mapping[str, Any]) -> None:
    """Refuse a key in place of its variable, and credentials in an address, before another message repeats them."""
    servers = {"judge": config.get("judge")}
    systems = config.get("systems")
    for name, system in systems.items() if isinstance(systems, Mapping) else ():
        if isinstance(system, Mapping):
            servers[f"systems.{printable(str(name))}.server"] = system.get("server")
    score = config.get("score")
    learned = score.get("learned") if isinstance(score, Mapping) else None
    for name, metric in learned.items() if isinstance(learned, Mapping) else ():
        if isinstance(metric, Mapping):
            servers[f"score.learned.{printable(str(name))}.server"] = metric.get("server")
    for place, server in servers.items():
        if isinstance(server, Mapping):
            for name, check in (("key", check_key_variable), ("base_url", check_base_url)):
                if isinstance(server.get(name), str):
                    check(server[name], place)


def _paper_names(column: str) -> list[str]:
    rows = [row for path in sorted((RESOURCES / "paper").glob("*.tsv")) for row in read_table(path)]
    return list(dict.fromkeys(row[column] for row in rows))
