"""Deploy fine-grained image-text matchers: ONNX bundles, galleries and search without PyTorch.

The names below load on first use, each from its own module, so that importing the package is
cheap and each name loads only what it needs.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str

    from itr_deploy.benchmarking.report import BenchReport
    from itr_deploy.client import Client
    from itr_deploy.deploy.banks import index_bank
    from itr_deploy.deploy.benching import bench
    from itr_deploy.deploy.cascading import cascade
    from itr_deploy.deploy.checking import check
    from itr_deploy.deploy.compacting import compact
    from itr_deploy.deploy.converting import convert
    from itr_deploy.deploy.detector_exporting import export_regions
    from itr_deploy.deploy.engine_building import build_engine
    from itr_deploy.deploy.ensembling import ensemble
    from itr_deploy.deploy.evaluating import evaluate
    from itr_deploy.deploy.exporting import export
    from itr_deploy.deploy.indexing import index, index_coarse
    from itr_deploy.deploy.inspecting import inspect
    from itr_deploy.deploy.profiling import profile_routes
    from itr_deploy.deploy.reranker_exporting import export_reranker
    from itr_deploy.deploy.searching import search
    from itr_deploy.deploy.serving import serve
    from itr_deploy.deploy.sharding import shard
    from itr_deploy.deploy.triton_writing import triton
    from itr_deploy.deploy.tuning import tune
    from itr_deploy.deploy.up import up
    from itr_deploy.deploy.verifying import verify
    from itr_deploy.diagnosis.doctor import doctor
    from itr_deploy.errors import (
        BundleError,
        CheckpointError,
        EngineError,
        GalleryBusyError,
        GalleryError,
        GalleryUnreadableError,
        InputError,
        InterruptedWorkError,
        ItrDeployError,
        OutputError,
        ParityError,
        ServiceError,
        SetupError,
        ShardUnavailableError,
        UsageError,
    )
    from itr_deploy.evaluation.report.model import EvaluationReport
    from itr_deploy.runtime.detector.detection import Detection
    from itr_deploy.runtime.detector.detector import Detector
    from itr_deploy.runtime.encoding.encoded import Encoded
    from itr_deploy.runtime.encoding.regions import Regions
    from itr_deploy.runtime.explanation import Explanation
    from itr_deploy.runtime.gallery.gallery import Gallery
    from itr_deploy.runtime.gallery.sharding.shards import Shards
    from itr_deploy.runtime.hits import Hit, Hits
    from itr_deploy.runtime.matcher import Matcher
    from itr_deploy.runtime.retriever import Retriever

# Silent unless the importing program configures logging.
logging.getLogger(__name__).addHandler(logging.NullHandler())

_MODULES = {
    "benchmarking.report": ("BenchReport",),
    "client": ("Client",),
    "deploy.banks": ("index_bank",),
    "deploy.benching": ("bench",),
    "deploy.cascading": ("cascade",),
    "deploy.checking": ("check",),
    "deploy.compacting": ("compact",),
    "deploy.converting": ("convert",),
    "deploy.detector_exporting": ("export_regions",),
    "deploy.engine_building": ("build_engine",),
    "deploy.ensembling": ("ensemble",),
    "deploy.evaluating": ("evaluate",),
    "deploy.exporting": ("export",),
    "deploy.indexing": ("index", "index_coarse"),
    "deploy.inspecting": ("inspect",),
    "deploy.profiling": ("profile_routes",),
    "deploy.reranker_exporting": ("export_reranker",),
    "deploy.searching": ("search",),
    "deploy.serving": ("serve",),
    "deploy.sharding": ("shard",),
    "deploy.triton_writing": ("triton",),
    "deploy.tuning": ("tune",),
    "deploy.up": ("up",),
    "deploy.verifying": ("verify",),
    "diagnosis.doctor": ("doctor",),
    "errors": (
        "BundleError",
        "CheckpointError",
        "EngineError",
        "GalleryBusyError",
        "GalleryError",
        "GalleryUnreadableError",
        "InputError",
        "InterruptedWorkError",
        "ItrDeployError",
        "OutputError",
        "ParityError",
        "ServiceError",
        "SetupError",
        "ShardUnavailableError",
        "UsageError",
    ),
    "evaluation.report.model": ("EvaluationReport",),
    "runtime.detector.detection": ("Detection",),
    "runtime.detector.detector": ("Detector",),
    "runtime.encoding.encoded": ("Encoded",),
    "runtime.encoding.regions": ("Regions",),
    "runtime.explanation": ("Explanation",),
    "runtime.gallery.gallery": ("Gallery",),
    "runtime.gallery.sharding.shards": ("Shards",),
    "runtime.hits": ("Hit", "Hits"),
    "runtime.matcher": ("Matcher",),
    "runtime.retriever": ("Retriever",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [  # noqa: RUF022  # verbs, then objects, then errors, as a reader looks for them
    "bench",
    "build_engine",
    "cascade",
    "check",
    "compact",
    "convert",
    "doctor",
    "ensemble",
    "evaluate",
    "export",
    "export_regions",
    "export_reranker",
    "index",
    "index_bank",
    "index_coarse",
    "inspect",
    "profile_routes",
    "search",
    "serve",
    "shard",
    "triton",
    "tune",
    "up",
    "verify",
    "BenchReport",
    "Client",
    "Detection",
    "Detector",
    "Encoded",
    "EvaluationReport",
    "Explanation",
    "Gallery",
    "Hit",
    "Hits",
    "Matcher",
    "Regions",
    "Retriever",
    "Shards",
    "BundleError",
    "CheckpointError",
    "EngineError",
    "GalleryBusyError",
    "GalleryError",
    "GalleryUnreadableError",
    "InputError",
    "InterruptedWorkError",
    "ItrDeployError",
    "OutputError",
    "ParityError",
    "ServiceError",
    "SetupError",
    "ShardUnavailableError",
    "UsageError",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version  # a third of the import's time

        return version("itr-deploy")
    if name not in _HOMES:
        raise AttributeError(f"module 'itr_deploy' has no attribute {name!r}")
    value = getattr(import_module(f"itr_deploy.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
