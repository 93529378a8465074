"""Opens the shards of a gallery: in this process, or in actors of Ray."""

from __future__ import annotations

from pathlib import Path

from itr_deploy.runtime.gallery.sharding.opening import open_shard
from itr_deploy.runtime.gallery.sharding.shards import Shards
from itr_deploy.runtime.matcher import Matcher
from itr_deploy.runtime.search.shards.gallery import ShardedGallery
from itr_deploy.runtime.search.shards.held import HeldShard, Part
from itr_deploy.runtime.search.shards.how import How, parts_of
from itr_deploy.runtime.search.shards.replicas import Group, Local, Member


def open_shards(matcher: Matcher, path: str | Path, how: How) -> ShardedGallery:
    """Open shards for searching.

    Args:
        matcher: Encodes queries; in this process it also scores.
        path: ``shards.json``, or its directory.
        how: Where they are held.

    Raises:
        BundleError: The bundle has no graphs for what a shard stores.
        GalleryError: A shard is missing, damaged, or was made with another bundle.
        SetupError: Ray is not installed, or no cluster answers.
    """
    shards = Shards.open(path)
    shards.check_encoding(matcher.bundle)
    if how.ray is not None:
        from itr_deploy.runtime.search.shards.on_ray import on_ray

        return on_ray(matcher, shards, how)
    groups = []
    for number, place in enumerate(shards.paths):
        held = HeldShard(
            matcher,
            open_shard(place, matcher),
            Part(number, len(shards)),
            memory_budget=how.memory_budget // len(shards),
            resident=how.resident,
            kept=how.timeout,
        )
        groups.append(Group(place.name, [Member(Local(held), place.name, held.state())]))
    return ShardedGallery(
        shards,
        groups,
        missing=how.missing,
        timeout=how.timeout,
        parts=parts_of(matcher),
        # One falls here too, by a disk or a device that fails a search, and is there afterwards.
        watched=True,
    )
