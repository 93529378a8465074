"""Memory for the graphs' intermediate results on the CPU: one arena shared by all graphs."""

from __future__ import annotations

import functools
from contextlib import suppress
from typing import Any


def share_arena(runtime: Any, options: Any) -> None:
    """Make a CPU session take its memory from the process's arena.

    An arena keeps what its largest call needed. With one per session, the default, encoders,
    prefilters and matchers each keep that much, though few of them run at a time. A memory plan,
    made for each new shape, asks for all its memory in one piece, which fits into none of the gaps
    that calls of other shapes have left (docs/performance.md). Sessions that other code in the
    process creates keep their own arenas.

    Args:
        runtime: The ``onnxruntime`` module.
        options: The session's options, which are changed.
    """
    _register_arena(runtime)
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.enable_mem_pattern = False


@functools.cache
def _register_arena(runtime: Any) -> None:
    """Create the process's arena."""
    on_cpu = runtime.OrtMemoryInfo(
        "Cpu", runtime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, runtime.OrtMemType.DEFAULT
    )
    # 0: grow by powers of two. Growing as requested, varying sizes left it more fragmented.
    growing = runtime.OrtArenaCfg({"arena_extend_strategy": 0})
    # Older releases refuse if there is an arena already, which serves as well.
    with suppress(RuntimeError):
        runtime.create_and_register_allocator(on_cpu, growing)
