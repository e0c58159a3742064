"""The rules of beam search, apart from any model: which hypotheses continue, which are finished, when a line is done.

They are those of `generate` of transformers, with a length penalty of 1. A model that gives the log-probabilities of
the next tokens makes a search of them, whichever library runs it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

# Score of a hypothesis that does not exist.
NONE = -1.0e9


class Beams:
    """The hypotheses of several lines, which may have different numbers of tokens.

    Args:
        limits: maximum number of new tokens of each line.
        beam: number of beams; 1 is greedy search.
        ends: ids of the tokens that end a hypothesis.
        early_stopping: end the search for a line as soon as `beam` hypotheses are finished. Otherwise it ends when no
            unfinished hypothesis has a better score than all finished ones at its present length.
        device: where the tensors are.
    """

    def __init__(
        self,
        limits: list[int],
        beam: int,
        ends: Sequence[int],
        early_stopping: bool,
        device: torch.device | str = "cpu",
    ) -> None:
        self.beam, self.ends, self.early_stopping = beam, tuple(ends), early_stopping or beam == 1
        self.limits = torch.tensor(limits, dtype=torch.long, device=device)
        self.lengths = torch.zeros_like(self.limits)
        lines = len(limits)
        # Tokens of the hypotheses, filled up with end tokens, [lines, beam, longest].
        self.tokens = torch.empty((lines, beam, 0), dtype=torch.long, device=device)
        # Only the first beam exists before the first token, so that the beams do not choose the same tokens.
        self.scores = torch.full((lines, beam), NONE, device=device)
        self.scores[:, 0] = 0
        self.finished_tokens, self.finished_scores = self.tokens, torch.full_like(self.scores, NONE)
        self.is_finished = torch.zeros((lines, beam), dtype=torch.bool, device=device)

    @property
    def candidates(self) -> int:
        """How many of the most likely next tokens of each hypothesis the search needs."""
        return (1 + len(self.ends)) * self.beam

    def advance(self, log_probabilities: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """Append one token to the hypotheses of every line.

        Args:
            log_probabilities: of the candidates, [lines, beam, candidates per hypothesis].
            candidates: ids of the most likely next tokens of every hypothesis, in the same shape, at least
                `self.candidates`.

        Returns:
            For each hypothesis that continues, the hypothesis of the line that it continues, [lines, beam]; and
            whether each line is done.
        """
        lines, beam, count = candidates.shape
        totals = (log_probabilities.float() + self.scores[:, :, None]).view(lines, -1)
        # At most `beam` of these end with the same end token, so that at least `beam` can continue.
        totals, places = totals.topk(self.candidates)
        parents, chosen = places // count, candidates.reshape(lines, -1).gather(1, places)
        tokens = self._append(parents, chosen)
        self.lengths = self.lengths + 1
        ends = torch.stack([chosen == end for end in self.ends]).any(0) | (self.lengths >= self.limits)[:, None]

        self.scores, kept = torch.where(ends, totals + NONE, totals).topk(beam)
        self.tokens = _take(tokens, kept)
        # A hypothesis counts as finished only if it is among the best `beam`.
        finishes = ends.clone()
        finishes[:, beam:] = False
        found = torch.where(finishes, totals / self.lengths[:, None], NONE)
        scores = torch.cat([self.finished_scores, found], dim=1)
        self.finished_scores, best = scores.topk(beam)
        self.finished_tokens = _take(torch.cat([self.finished_tokens, tokens], dim=1), best)
        self.is_finished = torch.cat([self.is_finished, finishes], dim=1).gather(1, best)

        full = self.is_finished.all(dim=1)
        can_improve = self.scores[:, 0] / self.lengths > self.finished_scores[:, -1]
        is_done = (full & ~can_improve) | ends.all(dim=1)
        if self.early_stopping:
            is_done |= full
        return parents.gather(1, kept), is_done

    def _append(self, parents: Tensor, chosen: Tensor) -> Tensor:
        """Tokens of the hypotheses `parents` with one more token each; the finished ones get as much room."""
        longest = int(self.lengths.max()) + 1
        if longest > self.tokens.shape[2]:
            room = self.tokens.new_full((*self.tokens.shape[:2], longest - self.tokens.shape[2]), self.ends[0])
            self.tokens = torch.cat([self.tokens, room], dim=2)
            self.finished_tokens = torch.cat([self.finished_tokens, room], dim=2)
        places = self.lengths[:, None, None].expand(*chosen.shape, 1)
        return _take(self.tokens, parents).scatter_(2, places, chosen[..., None])

    def last_tokens(self) -> Tensor:
        """The last token of each hypothesis that continues, [lines, beam]."""
        return self.tokens.gather(2, (self.lengths - 1)[:, None, None].expand(-1, self.beam, 1)).squeeze(2)

    def sequences(self) -> list[list[list[int]]]:
        """The tokens of the hypotheses that continue, by line."""
        return [
            [tokens[:length] for tokens in hypotheses]
            for hypotheses, length in zip(self.tokens.tolist(), self.lengths.tolist(), strict=True)
        ]

    def best(self, line: int) -> list[int]:
        """The best finished hypothesis of a line that is done, with its end token if it has one."""
        tokens: list[int] = self.finished_tokens[line, 0, : self.lengths[line]].tolist()
        return through_end(tokens, self.ends)

    def keep(self, lines: Tensor) -> None:
        """Drop all other lines."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value[lines])

    def add(self, limits: list[int]) -> None:
        """Add lines that have no tokens yet."""
        new = Beams(limits, self.beam, self.ends, self.early_stopping, self.limits.device)
        room = new.tokens.new_full((len(limits), self.beam, self.tokens.shape[2]), self.ends[0])
        new.tokens = new.finished_tokens = room
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, torch.cat([value, getattr(new, name)]))


def through_end(tokens: list[int], ends: Sequence[int]) -> list[int]:
    """Return tokens up to the first end token, which is included; all of them if there is none."""
    return next((tokens[: place + 1] for place, token in enumerate(tokens) if token in ends), tokens)


def _take(tokens: Tensor, hypotheses: Tensor) -> Tensor:
    return tokens.gather(1, hypotheses[..., None].expand(-1, -1, tokens.shape[2]))
