"""Memory of the graphs' intermediate results on the CPU: one arena for every graph."""

from __future__ import annotations

import functools
from contextlib import suppress
from typing import Any


def share_arena(runtime: Any, options: Any) -> None:
    """Have a session on the CPU take its memory from the arena of the process.

    An arena keeps what its largest call needed. With one for each session, as by default, encoders,
    prefilters and matchers keep as much each, though few of them run at a time; and a plan of the
    memory, which is made for each new shape, asks for all of it in one piece, which fits nowhere in
    what the calls of other shapes have left (docs/performance.md). Sessions that others of the
    process made keep their own arenas.

    Args:
        runtime: The ``onnxruntime`` module.
        options: The session's options, which are changed.
    """
    _register_arena(runtime)
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.enable_mem_pattern = False


@functools.cache
def _register_arena(runtime: Any) -> None:
    """Make the process's arena."""
    on_cpu = runtime.OrtMemoryInfo(
        "Cpu", runtime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, runtime.OrtMemType.DEFAULT
    )
    # 0: it grows by powers of two. As requested, sizes that vary left more of it in pieces.
    growing = runtime.OrtArenaCfg({"arena_extend_strategy": 0})
    # Older releases refuse where there is one already, which serves as well.
    with suppress(RuntimeError):
        runtime.create_and_register_allocator(on_cpu, growing)
