"""The one place that creates ONNX Runtime's sessions, so that all compute graphs alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from itr_deploy.bundle.bound import BoundFile
from itr_deploy.bundle.store import AnyBundle
from itr_deploy.runtime.backends.importing import import_onnxruntime
from itr_deploy.runtime.forks import check_process, keep_in_forks

CPU = ("CPUExecutionProvider",)


def open_session(
    model: str | Path | bytes,
    options: Any = None,
    *,
    providers: Sequence[Any] = CPU,
    fallback: bool = False,
    runtime: Any = None,
) -> Any:
    """Create a session.

    On x86 without VNNI, ONNX Runtime adds two products of 8-bit numbers in 16 bits, which saturate:
    scores of int8 graphs were off by more than 1. Every session asks for the exact form.

    Args:
        model: An ONNX file, or its content.
        options: ``onnxruntime.SessionOptions``, one thread by default.
        providers: What computes, first choice first; names, or pairs of a name and its options.
        fallback: Whether ONNX Runtime may print why a provider failed and continue with another.
        runtime: The ``onnxruntime`` module, imported by default.

    Returns:
        The ``onnxruntime.InferenceSession``.

    Raises:
        SetupError: onnxruntime does not load, or the process is a fork of one that used it.
    """
    check_process()
    if runtime is None:
        runtime = import_onnxruntime()
    if options is None:
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1
    options.add_session_config_entry("session.x64quantprecision", "1")
    content = model if isinstance(model, bytes) else str(model)
    session = runtime.InferenceSession(
        content, options, providers=list(providers), enable_fallback=int(fallback)
    )
    keep_in_forks(session)
    return session


def open_bound_session(
    bundle: AnyBundle, graph: str, options: Any, *, providers: Sequence[Any], runtime: Any
) -> Any:
    """Create a session of a bundle's graph, of the bytes that were checked when it was opened.

    By its path, if it has large files and those there are the checked ones: their pages are then
    shared by all processes, and who runs it must ask `BoundFile.check_unwritten` first. By its
    content, where it is small, was replaced meanwhile, or consists of links.

    Args:
        bundle: The opened bundle.
        graph: Name of the graph.
        options: ``onnxruntime.SessionOptions`` of this session alone.
        providers: See `open_session`.
        runtime: The ``onnxruntime`` module.

    Raises:
        BundleError: Something has written into the files themselves.
    """
    own, weights = bundle.files[bundle.manifest.graphs[graph].file], bundle.weights_of(graph)
    files = (own, *weights.values())
    large = not all(file.is_kept for file in files)
    if large and not any(file.linked for file in files) and _in_place(files):
        session = open_session(own.path, options, providers=providers, runtime=runtime)
        if _in_place(files):
            return session
    contents = {name: file.content() for name, file in weights.items()}
    if contents:
        options.add_external_initializers_from_files_in_memory(
            list(contents), list(contents.values()), [len(content) for content in contents.values()]
        )
    return open_session(bytes(own.content()), options, providers=providers, runtime=runtime)


def _in_place(files: Sequence[BoundFile]) -> bool:
    return all(file.in_place() for file in files)
