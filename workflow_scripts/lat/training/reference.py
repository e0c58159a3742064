"""Log-probabilities of responses by the model before the training, which DPO compares with.

They are computed once, in a first pass over all pairs that the training will use, by the model that is about to be
trained: a second model in memory is not needed. They are written to a file in the folder of the run's state, so that a
run that continues reads what the model computed before its first step.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import deepspeed
import torch

from ..files import InputError, read_table, write_table
from ..runtime import Progress, log
from .layout import Layout
from .pairs import EncodedPair, pair_tensors
from .samples import micro_batches

FILE = "reference.tsv"
COLUMNS = ("sample", "chosen", "rejected")


def with_reference(
    engine: Any,
    pairs: Sequence[EncodedPair],
    used: Iterable[int],
    micro_batch_size: int,
    pad: int,
    layout: Layout,
    folder: Path | None,
) -> list[EncodedPair]:
    """Return the pairs with the log-probabilities of their responses by the model of the engine.

    All processes must call this function before the first step.

    Args:
        engine: the engine, around a `PreferenceLoss`, with the weights from before the training.
        pairs: all pairs.
        used: indices of the pairs that the training uses; the others get no log-probabilities.
        micro_batch_size: maximum number of pairs per forward pass of a process.
        pad: id of the padding token.
        layout: how the sequences share rows.
        folder: the folder of the run's state, where `reference.tsv` is read if it exists, and otherwise written; None
            computes them without a file.

    Raises:
        InputError: the file is about other pairs.
    """
    wanted = sorted(set(used))
    sums = torch.zeros(len(pairs), 2, device=engine.device)
    path = folder / FILE if folder else None
    first = deepspeed.comm.get_rank() == 0
    is_known = torch.tensor([int(bool(first and path and path.is_file()))], device=engine.device)
    deepspeed.comm.all_reduce(is_known)
    if is_known:
        if first and path:
            sums = _read(path, sums, wanted)
    else:
        _compute(engine, pairs, wanted, micro_batch_size, pad, layout, sums)
    # Each sum is computed, or read, by one process.
    deepspeed.comm.all_reduce(sums)
    if first and path and not is_known:
        rows = [dict(zip(COLUMNS, (index, *sums[index].tolist()), strict=True)) for index in wanted]
        write_table(path, rows, COLUMNS)
    values = sums.tolist()
    return [
        dataclasses.replace(pair, reference=(chosen, rejected))
        for pair, (chosen, rejected) in zip(pairs, values, strict=True)
    ]


def _compute(
    engine: Any,
    pairs: Sequence[EncodedPair],
    wanted: Sequence[int],
    micro_batch_size: int,
    pad: int,
    layout: Layout,
    sums: torch.Tensor,
) -> None:
    """Write the sums of this process's share of the pairs into their rows of `sums`."""
    log.info("computing the log-probabilities of %d pairs before the training", len(wanted))
    rank, world = deepspeed.comm.get_rank(), deepspeed.comm.get_world_size()
    index_of = {id(pairs[index]): index for index in wanted}
    shortest = pairs[min(wanted, key=lambda index: len(pairs[index]))]
    own = micro_batches(wanted, pairs, micro_batch_size, rank, world)
    progress = Progress(len(own), "batches")
    training = engine.module.training
    engine.eval()
    with torch.no_grad():
        for micro_batch in own:
            # All processes take part in every pass. One without pairs passes the shortest one through.
            given = micro_batch or [shortest]
            found = engine(**pair_tensors(given, given, pad, layout, engine.device), only_sums=True)
            if micro_batch:
                sums[[index_of[id(pair)] for pair in given]] = found.t()
            progress.update()
    engine.train(training)


def _read(path: Path, sums: torch.Tensor, wanted: Sequence[int]) -> torch.Tensor:
    rows = read_table(path)
    if [row["sample"] for row in rows] != list(map(str, wanted)):
        raise InputError(f"{path}: log-probabilities of other samples; delete the folder and run again")
    log.info("the log-probabilities before the training are those of %s", path)
    found = [[float(row["chosen"]), float(row["rejected"])] for row in rows]
    sums[list(wanted)] = torch.tensor(found, device=sums.device)
    return sums
