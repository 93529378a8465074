"""The engines that a backend has loaded, and their workers."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray

from itr_deploy.bundle.store import AnyBundle
from itr_deploy.engines.files import EngineTarget
from itr_deploy.engines.fit import EngineHost, rebuild
from itr_deploy.engines.library import hearing, logger
from itr_deploy.engines.tensorrt_api import TensorRT
from itr_deploy.errors import EngineError, UsageError
from itr_deploy.runtime.backends.device_copies import DeviceCopies
from itr_deploy.runtime.backends.tensorrt.engine import LoadedEngine, build_again, find_engine
from itr_deploy.runtime.backends.tensorrt.memory import Device
from itr_deploy.runtime.backends.tensorrt.pool import BufferPool
from itr_deploy.runtime.backends.tensorrt.worker import Worker

log = logging.getLogger(__name__)

HOST_CODE = "ITR_DEPLOY_ALLOW_ENGINE_CODE"
"""Environment variable; ``1`` allows loading engines that contain code."""


class Engines:
    """Everything that a backend has on the device. Safe to use from several threads."""

    def __init__(
        self,
        bundle: AnyBundle,
        target: EngineTarget,
        trt: TensorRT,
        host: EngineHost,
        workers: int,
        cuda_graphs: bool,
        device: Device,
    ) -> None:
        """Start the library's runtime; must not be called where CUDA does not start."""
        self._bundle, self._target, self._trt = bundle, target, trt
        self._host, self._device = host, device
        self._workers, self._cuda_graphs = workers, cuda_graphs
        self._runtime = trt.Runtime(logger(trt))
        self._pool = BufferPool(device)
        self.resident = DeviceCopies(self._uploaded, device.free)
        self._crews: dict[str, _Crew] = {}
        self._lock = threading.Lock()
        self._closed = False

    def _uploaded(self, array: NDArray[Any]) -> int:
        """Copy an array to the device and return the copy's address."""
        address = self._pool.allocate(array.nbytes)
        try:
            stream = self._device.new_stream()
            try:
                self._device.upload(address, array, stream)
                self._device.synchronise(stream)
            finally:
                self._device.destroy_stream(stream)
        except BaseException:
            self._device.free(address)
            raise
        return address

    def loaded(self, graph: str) -> LoadedEngine:
        """The engine of a graph, loaded when first asked for.

        Raises:
            EngineError: The engine is missing, does not fit, or the library cannot load it.
            UsageError: The backend is closed.
        """
        return self._crew(graph).loaded

    @contextmanager
    def worker(self, graph: str) -> Iterator[Worker]:
        """A worker of a graph's engine for one call; waits if all are busy.

        Raises:
            EngineError: As for `loaded`.
            SetupError: CUDA refuses another worker.
            UsageError: The backend is closed.
        """
        crew = self._crew(graph)
        with crew.places:
            try:
                worker = crew.idle.pop()
            except IndexError:
                worker = Worker(
                    crew.loaded, self._device, self._pool, self.resident, self._cuda_graphs
                )
            try:
                yield worker
            finally:
                crew.idle.append(worker)

    def _crew(self, graph: str) -> _Crew:
        with self._lock:
            if self._closed:
                raise UsageError("the backend is closed; load another one")
            if graph not in self._crews:
                self._crews[graph] = _Crew(self._load(graph), self._workers)
            return self._crews[graph]

    def _load(self, graph: str) -> LoadedEngine:
        directory = find_engine(self._bundle, graph, self._target, self._host)
        path, built = directory.file(graph), directory.record.engines[graph]
        remedy = build_again(self._bundle, graph, built)
        if built.fingerprint.version_compatible and self._target == "tensorrt":
            # It contains a small runtime, which is code, and the record beside it proves nothing.
            if os.environ.get(HOST_CODE) != "1":
                raise EngineError(
                    f"{path}: is version-compatible, it holds code that would run here; set "
                    f"{HOST_CODE}=1 if you built it or trust who did, or build one without: "
                    f"{rebuild(self._bundle, target=self._target)} --graphs {graph}"
                )
            self._runtime.engine_host_code_allowed = True
        with hearing(self._trt) as heard:
            engine = self._runtime.deserialize_cuda_engine(path.read_bytes())
        if engine is None:
            said = heard.errors[-1] if heard.errors else "it does not say why"
            raise EngineError(
                f"{path}: {self._target} {self._host.version} does not load it: {said}; "
                f"build it again with {remedy} --force"
            )
        log.debug("%s: engine of %s", path, graph)
        info = self._bundle.manifest.graphs[graph]
        return LoadedEngine(graph, info, engine, self._trt, remedy)

    def close(self) -> None:
        """Free everything: contexts before their engines, engines before the library's runtime."""
        with self._lock:
            self._closed = True
            while self._crews:
                _, crew = self._crews.popitem()
                for _ in range(self._workers):  # until every call has ended
                    crew.places.acquire()
                for worker in crew.idle:
                    worker.close()
                del crew.loaded.engine
            del self._runtime
        self.resident.clear()
        self._pool.clear()


class _Crew:
    """An engine, its idle workers, and how many workers there may be."""

    def __init__(self, loaded: LoadedEngine, workers: int) -> None:
        self.loaded = loaded
        self.idle: list[Worker] = []
        self.places = threading.Semaphore(workers)
