"""A replica whose cluster was left."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import ray
from itr_deploy.runtime.search.shards.on_ray import RayReplica
from itr_deploy.runtime.search.shards.shard import LostError
# Made without a call, as Ray starts a cluster at the first one.
replica = RayReplica(ray, object)
error = replica.ask("state").exception(5)
assert isinstance(error, LostError) and "its cluster was left" in str(error), error
assert not ray.is_initialized()
"""


def test_a_replica_that_is_asked_after_its_cluster_was_left_starts_no_other() -> None:
    pytest.importorskip("ray")
    # A process of its own: this one may be connected to the cluster of other tests.
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
