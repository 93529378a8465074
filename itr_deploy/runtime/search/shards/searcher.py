"""A search over shards, in rounds, that finds what one machine finds.

1. The coarse stage: every shard's contenders. The best of all shards are chosen of them.
2. With a prefilter: its scores of those, where they are; the best of all again. The same with a
   refiner.
3. The matcher's scores of these, where they are; the hits are the best of all.

All rounds read one state of a shard. Where it is lost between two rounds, with all replicas that
have this state, the search is asked again as a whole.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from itr_deploy.errors import ShardUnavailableError
from itr_deploy.runtime.encoding.encoded import Encoded
from itr_deploy.runtime.gallery.table import Identity
from itr_deploy.runtime.hits import Answered, Hits
from itr_deploy.runtime.ranking import best
from itr_deploy.runtime.search.narrowing import Narrowing, used
from itr_deploy.runtime.search.searcher import Contenders, Searched
from itr_deploy.runtime.search.shards.replicas import Call, Group, Member, ask_all
from itr_deploy.runtime.search.shards.shard import Found, Matched, Nearest, Rows, Scores
from itr_deploy.runtime.timing import stage

log = logging.getLogger(__name__)

Missing = Literal["refuse", "partial"]
"""What becomes of a search where a shard does not answer: an error, or hits of the others."""

ATTEMPTS = 3
"""Times that a search is begun: shards may be lost between two rounds again."""

T = TypeVar("T")


class _LostInBetweenError(Exception):
    """A shard was lost after it had answered in this search."""


class _Step(NamedTuple):
    """A part of the matcher that narrows, and the items that it reads."""

    part: Narrowing
    width: int


@dataclass(frozen=True, eq=False)
class _Pool:
    """One query's items of all shards, with scores."""

    shard: NDArray[np.int64]
    rows: Rows
    ids: NDArray[np.str_]
    scores: Scores

    @classmethod
    def of(cls, parts: Mapping[int, Contenders]) -> _Pool:
        """The contenders of several shards, by their numbers."""
        if not parts:
            none = np.empty(0, np.int64)
            return cls(none, none, np.empty(0, np.str_), np.empty(0, np.float32))
        numbers = np.repeat([*parts], [len(part.rows) for part in parts.values()])
        columns = [
            np.concatenate([getattr(part, name) for part in parts.values()])
            for name in ("rows", "ids", "scores")
        ]
        return cls(numbers, *columns)

    def best(self, width: int) -> _Pool:
        """The best of them."""
        chosen, _ = best(self.scores, width, self.ids)
        return _Pool(*(column[chosen] for column in self.columns))

    @property
    def columns(self) -> tuple[NDArray[Any], ...]:
        return self.shard, self.rows, self.ids, self.scores

    def places(self, number: int) -> NDArray[np.int64]:
        """Where the items of a shard are."""
        return np.flatnonzero(self.shard == number)


class ShardedSearcher:
    """Answers encoded queries from all shards."""

    def __init__(
        self,
        groups: Sequence[Group],
        share: Callable[[Encoded], Any],
        *,
        missing: Missing,
        timeout: float,
        parts: frozenset[Narrowing],
    ) -> None:
        """Take the shards.

        Args:
            groups: The replicas of every shard, by the shards' numbers.
            share: Makes of queries what several calls may be given.
            missing: What becomes of a search where a shard does not answer.
            timeout: Seconds that a search may take.
            parts: Which parts of the matcher narrow shortlists.
        """
        self.groups, self.missing, self.timeout = groups, missing, timeout
        self._share, self._parts = share, parts

    @property
    def searched(self) -> Searched:
        """The sum of the shards' versions, which every change raises, and their items."""
        states = [group.state for group in self.groups]
        return Searched(sum(s.identity.version for s in states), sum(s.items for s in states))

    def search(
        self,
        queries: Encoded,
        k: int,
        candidates: int | None,
        where: str | None,
        prefilter: int | None = None,
        refine: int | None = None,
    ) -> list[Hits]:
        """The ``k`` best items of every query; arguments as in `Searcher.search`.

        Raises:
            ShardUnavailableError: A shard does not answer, and hits of the others are not wanted.
        """
        asked = _Search(
            self, self._share(queries), len(queries), k, where, monotonic() + self.timeout
        )
        for _ in range(ATTEMPTS):
            try:
                if candidates is None:
                    return asked.exhaustive()
                width = max(candidates, k)
                return asked.cascade(width, self._chain(prefilter, refine))
            except _LostInBetweenError as error:
                log.info("searching again: %s", error)
                last = error
        raise ShardUnavailableError(
            f"shards were lost while they were searched, {ATTEMPTS} times: {last}; try again"
        )

    def _chain(self, prefilter: int | None, refine: int | None) -> list[_Step]:
        given: tuple[tuple[Narrowing, int | None], ...] = (
            ("prefilter", prefilter),
            ("refine", refine),
        )
        return [
            _Step(part, width) for part, width in given if part in self._parts and width is not None
        ]

    def ask(self, number: int, call: Call) -> Any:
        """One shard's answer.

        Raises:
            ShardUnavailableError: No replica answers.
        """
        answers = ask_all(self.groups, {number: call}, monotonic() + self.timeout)
        if number in answers.lost:
            raise unavailable(self.groups, answers.lost)
        return answers.values[number]


def unavailable(groups: Sequence[Group], lost: Mapping[int, str]) -> ShardUnavailableError:
    """The error of shards that do not answer."""
    number = min(lost)
    more = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
    first = f"{groups[number].name}{more}: {lost[number]}"
    return ShardUnavailableError(
        f"{len(lost)} of {len(groups)} shards do not answer: {first}; "
        "they are asked again once they answer: try again, give them longer with shard_timeout= "
        "(--shard-timeout), or take hits of the others with missing_shards='partial' "
        "(--missing-shards partial)"
    )


class _Search:
    """One search; a round keeps who answered, and from what state."""

    def __init__(
        self,
        searcher: ShardedSearcher,
        queries: Any,
        count: int,
        k: int,
        where: str | None,
        until: float,
    ) -> None:
        self._groups, self._missing = searcher.groups, searcher.missing
        self._queries, self._count, self._k, self._where = queries, count, k, where
        self._until = until
        self._lost: dict[int, str] = {}
        self._of: dict[int, Identity] = {}
        self._members: dict[int, Member] = {}

    def exhaustive(self) -> list[Hits]:
        """Match every item."""
        args = (self._queries, self._k, self._where)
        with stage("match"):
            found: dict[int, Matched] = self._first("exhaustive", args)
        return self._hits({number: answer.found for number, answer in found.items()})

    def cascade(self, width: int, chain: Sequence[_Step]) -> list[Hits]:
        """Match the best ``width`` of the last of a chain, or of the coarse stage."""
        coarse = next((step.width for step in used(chain, width)), width)
        with stage("shortlist"):
            nearest: dict[int, Nearest] = self._first(
                "nearest", (self._queries, coarse, self._where)
            )
        allowed = sum(answer.allowed for answer in nearest.values())
        pools = [
            _Pool.of({number: answer.contenders[query] for number, answer in nearest.items()})
            for query in range(self._count)
        ]
        if width < allowed:
            # Nobody reads more items than the filter keeps.
            steps = used([step._replace(width=min(step.width, allowed)) for step in chain], width)
            widths = [*(step.width for step in steps), width]
            pools = [pool.best(widths[0]) for pool in pools]
            for step, kept in zip(steps, widths[1:], strict=True):
                with stage(step.part):
                    pools = [pool.best(kept) for pool in self._narrowed(pools, step.part)]
        with stage("match"):
            answers = self._next(
                "matched",
                {number: (rows, self._k) for number, rows in self._rows(pools).items()},
            )
        for number, answer in answers.items():
            self._check(number, answer, pools)
        return self._hits({number: answer.found for number, answer in answers.items()})

    def _narrowed(self, pools: Sequence[_Pool], part: Narrowing) -> list[_Pool]:
        """The same items with the scores of a part of the matcher."""
        given = {number: (rows, part) for number, rows in self._rows(pools).items()}
        scores = [np.empty(len(pool.rows), np.float32) for pool in pools]
        for number, answer in self._next("narrowed", given).items():
            for pool, target, own in zip(pools, scores, answer, strict=True):
                target[pool.places(number)] = own
        return [
            _Pool(pool.shard, pool.rows, pool.ids, row)
            for pool, row in zip(pools, scores, strict=True)
        ]

    def _rows(self, pools: Sequence[_Pool]) -> dict[int, list[Rows]]:
        """Every query's rows of the shards that have any."""
        by_shard = {
            number: [pool.rows[pool.places(number)] for pool in pools] for number in self._of
        }
        return {number: rows for number, rows in by_shard.items() if any(len(own) for own in rows)}

    def _first(self, method: Literal["nearest", "exhaustive"], args: tuple[Any, ...]) -> Any:
        """Ask all shards; those that are lost are left out, or an error.

        Raises:
            ShardUnavailableError: One is lost, and none is to be left out; or all are.
        """
        calls = {number: Call(method, args) for number in range(len(self._groups))}
        answers = ask_all(self._groups, calls, self._until)
        if answers.lost and (self._missing == "refuse" or not answers.values):
            raise unavailable(self._groups, answers.lost)
        self._lost, self._members = answers.lost, answers.members
        self._of = {number: answer.identity for number, answer in answers.values.items()}
        # In the shards' order, whoever answered first.
        return {number: answers.values[number] for number in sorted(answers.values)}

    def _next(
        self, method: Literal["narrowed", "matched"], given: Mapping[int, tuple[Any, ...]]
    ) -> dict[int, Any]:
        """Ask those who answered before of the same state."""
        calls = {
            number: Call(method, (self._of[number], self._queries, *args), self._members[number])
            for number, args in given.items()
        }
        answers = ask_all(self._groups, calls, self._until)
        if answers.lost:
            number, why = next(iter(answers.lost.items()))
            raise _LostInBetweenError(f"{self._groups[number].name}: {why}")
        return {number: answers.values[number] for number in sorted(answers.values)}

    def _check(self, number: int, answer: Matched, pools: Sequence[_Pool]) -> None:
        """Refuse an answer that is not of what was asked."""
        same = answer.identity == self._of[number]
        for found, pool in zip(answer.found, pools, strict=True):
            asked = set(pool.ids[pool.places(number)].tolist())
            same = same and asked.issuperset(found.ids.tolist())
        if not same:
            raise _LostInBetweenError(f"{self._groups[number].name}: answers of other items")

    def _hits(self, found: Mapping[int, Sequence[Found]]) -> list[Hits]:
        failed = tuple(self._groups[number].name for number in sorted(self._lost))
        total = len(self._groups)
        shards = Answered(total, total - len(failed), failed)
        return [
            _merged([parts[query] for parts in found.values()], self._k, shards)
            for query in range(self._count)
        ]


def _merged(parts: Sequence[Found], k: int, shards: Answered) -> Hits:
    """The best of all shards."""
    ids = np.concatenate([np.empty(0, np.str_), *(part.ids for part in parts)])
    scores = np.concatenate([np.empty(0, np.float32), *(part.scores for part in parts)])
    metadata = [entry for part in parts for entry in part.metadata]
    chosen, settled = best(scores, k, ids)
    return Hits(
        tuple(ids[chosen].tolist()),
        settled,
        tuple(metadata[place] for place in chosen),
        shards=shards,
    )
