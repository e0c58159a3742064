"""Choose the step of a training whose model translates the dev directions best."""

from collections.abc import Sequence
from typing import NamedTuple

# Candidates with this many off-target lines more than the fewest count as equal in this respect: one line of a hundred
# changes from one snapshot to the next by chance.
TOLERANCE = 1


class Candidate(NamedTuple):
    """A snapshot: its step, its off-target lines in all dev directions together, and its mean chrF++ over them."""

    step: int
    off_target: int
    chrf: float


def choose(candidates: Sequence[Candidate]) -> Candidate:
    """Return the candidate with the highest chrF++ among those with the fewest off-target lines; of equals the first.

    Those with the fewest are all that have at most `TOLERANCE` lines more than the one with the fewest. All dev
    directions have the same number of lines, so that the fewest lines are also the lowest mean off-target ratio.

    Args:
        candidates: the snapshots, at least one.
    """
    fewest = min(candidate.off_target for candidate in candidates)
    left = [candidate for candidate in candidates if candidate.off_target <= fewest + TOLERANCE]
    return min(left, key=lambda candidate: (-candidate.chrf, candidate.step))
