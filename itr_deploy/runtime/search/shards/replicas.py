"""The replicas of every shard: who is asked, who takes over, and who lives.

Nothing here knows where a replica is: it answers by a future, or says that it is lost.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Literal, Protocol

from itr_deploy.errors import EngineError, GalleryUnreadableError, ItrDeployError, SetupError
from itr_deploy.runtime.search.shards.shard import LostError, Shard, ShardState, StaleError

log = logging.getLogger(__name__)

Method = Literal[
    "state",
    "nearest",
    "narrowed",
    "matched",
    "exhaustive",
    "stored",
    "lookup",
    "count",
    "warm",
    "refresh",
]
"""Of a `Shard`."""

FAULTS = (LostError, GalleryUnreadableError, SetupError, EngineError)
"""Errors that another replica may not have."""


class Replica(Protocol):
    """A shard somewhere."""

    def ask(self, method: Method, *args: Any) -> Future[Any]:
        """Have a method of `Shard` called; the future has `LostError` where nobody answers."""
        ...


class Local:
    """A replica in this process; answers when it is asked."""

    def __init__(self, shard: Shard) -> None:
        """Take the shard."""
        self._shard = shard

    def ask(self, method: Method, *args: Any) -> Future[Any]:
        """Call the method now."""
        answer: Future[Any] = Future()
        try:
            answer.set_result(getattr(self._shard, method)(*args))
        except Exception as error:
            answer.set_exception(error)
        return answer


@dataclass(eq=False)
class Member:
    """A replica and what is known of it.

    Attributes:
        replica: Answers.
        name: For messages.
        state: What it said last of itself.
        lives: Whether it is asked.
        why: Why it is not.
        refused: Whether it answers, but from what is not to be searched.
        asked: What the watch has asked, and since when.
    """

    replica: Replica
    name: str
    state: ShardState
    lives: bool = True
    why: str = ""
    refused: bool = False
    asked: tuple[Future[Any], float] | None = None

    def rose(self, state: ShardState) -> None:
        """It answers."""
        self.state = state
        if not self.lives:
            log.warning("%s: answers again, version %d", self.name, state.identity.version)
        self.lives, self.why, self.refused = True, "", False

    def went_to(self, state: ShardState) -> None:
        """It has gone over to another version."""
        # What it was asked before tells of the version before.
        self.state, self.asked = state, None

    def fell(self, why: object, *, refused: bool = False) -> None:
        """It does not answer, or is ``refused``: it answers from what is not to be searched."""
        said = " ".join(str(why).split())[:200]
        if self.lives or self.why != said:
            log.warning("%s: %s", self.name, said)
        # What it was asked before tells nothing of now.
        self.lives, self.why, self.asked, self.refused = False, said, None, refused


@dataclass(eq=False)
class Group:
    """The replicas of one shard."""

    name: str
    members: Sequence[Member]
    _turn: int = field(default=0)

    @property
    def state(self) -> ShardState:
        """What a living replica searches, or what was known last."""
        living = [member for member in self.members if member.lives]
        return (living or self.members)[0].state

    @property
    def living(self) -> int:
        """Number of replicas that answer."""
        return sum(member.lives for member in self.members)

    @property
    def why(self) -> str:
        """Why none answers."""
        return next((member.why for member in self.members if member.why), "")

    def choose(self, tried: Iterable[Member]) -> Member | None:
        """The next replica in turn that lives and was not tried."""
        # Two threads may choose the same one.
        self._turn += 1
        count = len(self.members)
        for place in range(count):
            member = self.members[(self._turn + place) % count]
            if member.lives and member not in tried:
                return member
        return None


@dataclass(frozen=True)
class Call:
    """A call of a shard's method.

    Attributes:
        method: Which.
        args: Its arguments.
        first: The replica to ask first, the one that answered before.
    """

    method: Method
    args: tuple[Any, ...]
    first: Member | None = None


@dataclass
class Answers:
    """What several shards answered, by their numbers.

    Attributes:
        values: The answers.
        members: Who gave them.
        lost: Why others gave none.
        stale: Whether one of those does not have the state any more that it was asked of.
    """

    values: dict[int, Any] = field(default_factory=dict)
    members: dict[int, Member] = field(default_factory=dict)
    lost: dict[int, str] = field(default_factory=dict)
    stale: bool = False


@dataclass(eq=False)
class _Try:
    number: int
    call: Call
    member: Member
    tried: list[Member]
    until: float


def ask_all(groups: Sequence[Group], calls: Mapping[int, Call], until: float) -> Answers:
    """Ask several shards at once; another replica is asked where one does not answer.

    Args:
        groups: All shards.
        calls: What is asked, by the shards' numbers.
        until: When to give up, by the monotonic clock.

    Raises:
        ItrDeployError: What a shard raised, if it is of the question and not of the replica.
    """
    answers, running = Answers(), dict[Future[Any], _Try]()

    def begin(number: int, call: Call, tried: list[Member], why: str) -> None:
        group, now = groups[number], monotonic()
        first = call.first
        member = first if first is not None and first.lives and not tried else None
        if member is None:
            member = group.choose(tried)
        if member is None or now >= until:
            answers.lost[number] = why or group.why or "no time is left"
            return
        tried.append(member)
        others = sum(one.lives and one not in tried for one in group.members)
        mine = _Try(number, call, member, tried, now + (until - now) / (others + 1))
        running[member.replica.ask(call.method, *call.args)] = mine

    for number, call in calls.items():
        begin(number, call, [], "")
    while running:
        first = min(one.until for one in running.values())
        ended, _ = wait(running, max(0.0, first - monotonic()), FIRST_COMPLETED)
        late = {future for future, one in running.items() if one.until <= monotonic()}
        for future in ended | late:
            one = running.pop(future)
            try:
                if not future.done():
                    raise LostError("does not answer in time")
                answers.values[one.number] = future.result()
                answers.members[one.number] = one.member
            except StaleError as error:
                answers.stale = True
                begin(one.number, one.call, one.tried, str(error))
            except FAULTS as error:
                one.member.fell(error)
                begin(one.number, one.call, one.tried, str(error))
    return answers


class Watch:
    """Looks now and then which replicas live, in a thread of its own."""

    SOON, LATER = 0.25, 2.0
    """Seconds between two looks, while one does not live and otherwise."""
    PATIENCE = 10.0
    """Seconds after which a replica that does not answer this is taken for lost."""

    def __init__(self, groups: Sequence[Group], check: Callable[[ShardState], str | None]) -> None:
        """Set it up; `start` starts the thread, which ends with `close`.

        Args:
            groups: All shards.
            check: Says what is wrong with a replica that answers, None if nothing.
        """
        self._groups, self._check = groups, check
        self._closed = threading.Event()

    def start(self) -> None:
        """Look from now on."""
        threading.Thread(target=self._run, name="itr-deploy-shards", daemon=True).start()

    def close(self) -> None:
        """Look no longer."""
        self._closed.set()

    def look(self) -> None:
        """Take what was answered since the last look, and ask again."""
        for group in self._groups:
            for member in group.members:
                self._look_at(member)

    def _run(self) -> None:
        while True:
            whole = all(member.lives for group in self._groups for member in group.members)
            if self._closed.wait(self.LATER if whole else self.SOON):
                return
            self.look()

    def _look_at(self, member: Member) -> None:
        if member.asked is not None:
            answer, since = member.asked
            if answer.done():
                self._take(member, answer)
            elif monotonic() - since < self.PATIENCE:
                return
            else:
                member.fell("does not answer")
        member.asked = member.replica.ask("state"), monotonic()

    def _take(self, member: Member, answer: Future[Any]) -> None:
        try:
            state = answer.result()
        except (ItrDeployError, LostError) as error:
            member.fell(error)
            return
        except Exception as error:  # whatever it is, it must be looked at again
            member.fell(repr(error))
            return
        wrong = self._check(state)
        if wrong is None:
            member.rose(state)
        else:
            member.fell(wrong, refused=True)
