"""How a matrix of scores ranks a split: as a whole, and fold by fold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from itr_deploy.evaluation.data.answers import Answers
from itr_deploy.evaluation.measures.figures import Recall
from itr_deploy.evaluation.measures.recall import Ranks, mean_recall, ranks, recall
from itr_deploy.evaluation.scores.split_scores import Scores

Ranking = Callable[[slice, slice], Scores]
"""Returns the scores by which a part's images and captions are ranked among each other."""


@dataclass(frozen=True, eq=False)
class SplitRanks:
    """Ranks by one way of scoring.

    Attributes:
        scores: The scores of the whole split.
        ranks: The ranks by these scores.
        folds: Ranks within every fold; empty for one fold.
    """

    scores: Scores
    ranks: Ranks
    folds: tuple[Ranks, ...]

    @property
    def recall(self) -> Recall:
        """Recall by the ranks of the whole split."""
        return recall(self.ranks)

    @property
    def fold_recalls(self) -> tuple[Recall, ...]:
        """Recall in every fold."""
        return tuple(recall(found) for found in self.folds)

    @property
    def folds_mean(self) -> Recall | None:
        """The mean over the folds, None for one fold."""
        return mean_recall(self.fold_recalls) if self.folds else None


def split_ranks(ranking: Ranking, answers: Answers, folds: int) -> SplitRanks:
    """Rank a split.

    Raises:
        UsageError: The folds do not divide the images.
    """
    ((images, captions),) = answers.folds(1)
    whole = ranking(images, captions)
    parts = answers.folds(folds) if folds > 1 else []
    within = (ranks(ranking(*part), answers.part(part[0])) for part in parts)
    return SplitRanks(whole, ranks(whole, answers), tuple(within))
