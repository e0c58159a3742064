"""Which directions each of several decoding jobs of a system decodes."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def of_shard(directions: Sequence[T], shard: int, shards: int) -> list[T]:
    """Return the directions that a job decodes: neighbours, and the same number in each job, give or take one.

    Args:
        directions: all directions in alphabetical order, or one value for each of them.
        shard: number of the job, from 1.
        shards: number of jobs.
    """
    first, end = (len(directions) * number // shards for number in (shard - 1, shard))
    return list(directions[first:end])
