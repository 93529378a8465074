"""Galleries in shards, with replicas in this process that can be lost."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import itr_deploy
from itr_deploy import Gallery, Matcher, Retriever, Shards
from itr_deploy.runtime.search.shards.gallery import ShardedGallery
from itr_deploy.runtime.search.shards.held import HeldShard, Part
from itr_deploy.runtime.search.shards.how import parts_of
from itr_deploy.runtime.search.shards.replicas import Group, Local, Member, Method
from itr_deploy.runtime.search.shards.searcher import Missing
from itr_deploy.runtime.search.shards.shard import LostError


def sharded(gallery: Path | str, output: Path, count: int) -> Shards:
    itr_deploy.shard(gallery, count=count, output=output)
    return Shards.open(output)


class Switch(Local):
    """A replica that can be lost.

    Attributes:
        lives: Whether it answers.
        lost_at: It is lost when it is asked this.
        asked: What it was asked.
    """

    def __init__(self, shard: HeldShard) -> None:
        super().__init__(shard)
        self.shard = shard
        self.lives = True
        self.lost_at: Method | None = None
        self.asked: list[Method] = []

    def ask(self, method: Method, *args: Any) -> Future[Any]:
        self.asked.append(method)
        if method == self.lost_at:
            self.lives, self.lost_at = False, None
        if self.lives:
            return super().ask(method, *args)
        lost: Future[Any] = Future()
        lost.set_exception(LostError("its process has ended"))
        return lost


@dataclass(frozen=True)
class Held:
    """Shards of which replicas can be lost.

    Attributes:
        retriever: Searches them.
        replicas: Of every shard.
        groups: What is known of them.
    """

    retriever: Retriever
    replicas: Sequence[Sequence[Switch]]
    groups: Sequence[Group]


def held(
    matcher: Matcher, shards: Shards, *, replicas: int = 1, missing: Missing = "partial"
) -> Held:
    """Hold shards in this process."""
    made = [
        [
            Switch(
                HeldShard(
                    matcher,
                    Gallery.open(path, matcher),
                    Part(number, len(shards)),
                    memory_budget=1 << 28,
                    resident=None,
                    kept=60.0,
                )
            )
            for _ in range(replicas)
        ]
        for number, path in enumerate(shards.paths)
    ]
    groups = [
        Group(path.name, [Member(one, path.name, one.shard.state()) for one in own])
        for path, own in zip(shards.paths, made, strict=True)
    ]
    gallery = ShardedGallery(
        shards,
        groups,
        missing=missing,
        timeout=30.0,
        parts=parts_of(matcher),
    )
    return Held(Retriever(matcher, gallery), made, groups)
