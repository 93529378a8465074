"""Ray's cluster: the connection to one, which everything in this process shares.

A process that is connected uses that cluster whatever address it is told. A cluster that was
started for this process ends with the last that uses it.
"""

from __future__ import annotations

import os
import socket
import threading
import warnings
from typing import Any

from itr_deploy.errors import SetupError
from itr_deploy.runtime.cpus import default_threads

LOCAL = "local"
"""The address of a cluster that is started for this process."""
STORE = 256 << 20
"""Bytes of a local cluster's object store, through which only queries and hits go."""
ANSWERED = 10.0
"""Seconds for a cluster to accept a connection."""

_lock = threading.Lock()
_users = 0
_is_own = False


def library() -> Any:
    """The module ray, which is not to tell anybody that it is used.

    Raises:
        SetupError: It is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise SetupError("Ray is not installed; pip install 'itr-deploy[ray]'") from error
    return ray


def join(ray: Any, address: str, cpus: int) -> None:
    """Connect this process to a cluster, if it is not yet; `leave` once for every call.

    Args:
        ray: The module.
        address: Of the cluster, or `LOCAL`.
        cpus: The least that a local cluster counts.

    Raises:
        SetupError: No cluster answers.
    """
    global _users, _is_own
    with _lock:
        if not ray.is_initialized():
            _check_answers(address)
            try:
                with warnings.catch_warnings():
                    # Of forks, by LanceDB: the processes that are started replace them at once.
                    warnings.simplefilter("ignore")
                    ray.init(**_how(address, cpus), log_to_driver=False, logging_level="ERROR")
            except (ConnectionError, OSError, RuntimeError, ValueError) as error:
                raise _no_cluster(address, error) from error
            _users, _is_own = 0, True
        _users += 1


def leave(ray: Any) -> None:
    """Close the connection that `join` made, where nobody uses it any more."""
    global _users, _is_own
    with _lock:
        _users -= 1
        if _users <= 0 and _is_own:
            _users, _is_own = 0, False
            ray.shutdown()


def machines(ray: Any) -> list[int]:
    """The number of CPUs of every machine of the cluster."""
    return [
        int(node["Resources"]["CPU"])
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("CPU")
    ] or [1]


def _check_answers(address: str) -> None:
    """Refuse an address where nothing listens; Ray itself tries for minutes.

    Raises:
        SetupError: Nothing does.
    """
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWERED).close()
        except (OSError, OverflowError) as error:
            raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: Exception) -> SetupError:
    said = " ".join(str(error).split())[:200]
    return SetupError(
        f"ray={address!r} (--ray): no cluster answers: {said}; start one with ray start, or give "
        f"{LOCAL!r}"
    )


def _how(address: str, cpus: int) -> dict[str, Any]:
    if address != LOCAL:
        return {"address": address}
    # Ray's own word too, without which it takes a cluster that somebody has started here.
    return {
        "address": LOCAL,
        "num_cpus": max(cpus, default_threads()),
        "include_dashboard": False,
        "object_store_memory": STORE,
    }
