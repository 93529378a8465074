"""A replica whose cluster was left."""

from __future__ import annotations

import pytest

from itr_deploy.runtime.search.shards.on_ray import RayReplica
from itr_deploy.runtime.search.shards.shard import LostError


def test_a_replica_that_is_asked_after_its_cluster_was_left_starts_no_other() -> None:
    ray = pytest.importorskip("ray")
    assert not ray.is_initialized()

    class Actor:
        pass

    # Made without a call, as Ray starts a cluster at the first one.
    replica = RayReplica(ray, lambda: Actor())
    with pytest.raises(LostError, match="its cluster was left"):
        replica.ask("state").result(5)
    assert not ray.is_initialized()
