from __future__ import annotations

from pathlib import Path

from tests.support.command import python

MEMORY = """
import sys
import numpy as np
import onnxruntime
import psutil
from itr_deploy import Matcher

def resident():
    # Of this process, in MB.
    return psutil.Process().memory_info().rss / 1e6

regions = np.random.default_rng(0).standard_normal((300, 40, 32), dtype=np.float32)
ids = np.full((40, 50), 5)

def scored():
    matcher = Matcher.load(sys.argv[1], threads=1)
    images, texts = matcher.encode_images(regions), matcher.encode_token_ids(ids, [50] * 40)
    matcher.score(texts=texts, images=images)
    return matcher
"""


def test_graphs_share_the_memory_of_their_intermediate_results(bundle: Path) -> None:
    code = f"""{MEMORY}
start = resident()
kept = [scored()]
one = resident() - start
kept += [scored() for _ in range(3)]
print(one, resident() - start)
"""
    outcome = python(code, bundle)
    one, four = map(float, outcome.out.split())
    assert one > 60, "a call's memory is not what is measured"
    assert four < 1.5 * one


def test_an_arena_that_another_part_of_the_process_registered_is_used(bundle: Path) -> None:
    code = f"""{MEMORY}
on_cpu = onnxruntime.OrtMemoryInfo(
    "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
)
onnxruntime.create_and_register_allocator(on_cpu, onnxruntime.OrtArenaCfg(0, -1, -1, -1))
scored()
print("scored")
"""
    outcome = python(code, bundle)
    assert outcome.out == "scored\n", outcome.err
