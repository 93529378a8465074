"""One small cluster of Ray for all tests of a process, and where those tests run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

KILLED = "ITR_DEPLOY_TEST_KILLED"

FILES = (
    "tests/deploy/test_indexing_on_ray.py",
    "tests/runtime/search/shards/test_on_ray.py",
    "tests/serving/test_shards.py",
)
"""Files whose tests use the cluster: pytest-xdist runs them in one process, one after another."""


def end_one_process() -> None:
    """In every process of the cluster: commit after every group of items, and end one process of
    those that make parts by SIGKILL, in the middle of a part.
    """
    import signal

    from itr_deploy.deploy.bulk.on_ray import PartMaker
    from itr_deploy.runtime.encoding.sources import TOGETHER
    from itr_deploy.runtime.gallery import parts

    parts.SECONDS = parts.SHARE = 0.0
    advance, folder = PartMaker._advance, Path(os.environ[KILLED])

    def and_end(self: Any, done: int) -> None:
        advance(self, done)
        if done >= 2 * TOGETHER:
            try:
                (folder / "kill").rename(folder / "killed")
            except FileNotFoundError:
                return
            os.kill(os.getpid(), signal.SIGKILL)

    PartMaker._advance = and_end  # type: ignore[method-assign]


def running_cluster(folder: Path) -> Iterator[Path]:
    """Start the cluster and connect to it; a file ``kill`` in this folder makes it end a process
    that makes parts.
    """
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ[KILLED] = str(folder)
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=100 << 20,
        log_to_driver=False,
        logging_level="ERROR",
        runtime_env={"worker_process_setup_hook": end_one_process},
    )
    yield Path(os.environ.pop(KILLED))
    ray.shutdown()
