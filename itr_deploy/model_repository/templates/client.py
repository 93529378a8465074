"""Asks Triton for hits: python client.py "a dog on the grass" -k 5. Needs no package for texts."""

from __future__ import annotations

import argparse
import http.client
import json
import struct
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


def infer(
    url: str,
    inputs: dict[str, tuple[list[int], str, Any]],
    *,
    model: str = "itr_search",
    timeout: float = 60,
) -> dict[str, Any]:
    """Send a request to a model.

    Args:
        url: Where Triton's HTTP port is, for example ``"http://127.0.0.1:8000"``.
        inputs: By name, the shape, Triton's name of the type, and the values: a list, or bytes as
            they are sent.
        model: The model's name.
        timeout: Seconds to wait for the answer.

    Returns:
        The outputs, each a flat list, by name.

    Raises:
        RuntimeError: Triton refuses; its message.
    """
    told, raw = [], b""
    for name, (shape, kind, values) in inputs.items():
        entry: dict[str, Any] = {"name": name, "shape": shape, "datatype": kind}
        if isinstance(values, bytes):
            entry["parameters"] = {"binary_data_size": len(values)}
            raw += values
        else:
            entry["data"] = values
        told.append(entry)
    head = json.dumps({"inputs": told}).encode()
    parts = urlsplit(url)
    connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = connect(parts.netloc, timeout=timeout)
    try:
        headers = {"Inference-Header-Content-Length": str(len(head))}
        path = f"{parts.path.rstrip('/')}/v2/models/{model}/infer"
        connection.request("POST", path, head + raw, headers)
        response = connection.getresponse()
        answer = json.loads(response.read() or b"{}")
    finally:
        connection.close()
    if response.status != 200:
        raise RuntimeError(answer.get("error", f"HTTP {response.status}"))
    return {output["name"]: output["data"] for output in answer["outputs"]}


def image_input(path: Path) -> dict[str, tuple[list[int], str, Any]]:
    """An image: the features of its regions in a .npy file, or for a model of pixels a picture."""
    if path.suffix.lower() != ".npy":
        content = path.read_bytes()
        return {"picture": ([1, 1], "BYTES", struct.pack("<I", len(content)) + content)}
    import numpy as np

    regions = np.ascontiguousarray(np.load(path, allow_pickle=False), "<f4")
    return {"regions": ([1, *regions.shape], "FP32", regions.tobytes())}


def main() -> int:
    """Ask once and print the hits."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("query", nargs="?", help="the text to search images with")
    options.add_argument("--image", type=Path, help="a .npy file of regions, or a picture")
    options.add_argument("-k", type=int, default=5, help="number of hits")
    options.add_argument("--where", help="a filter, such as \"split = 'test'\"")
    options.add_argument("--url", default="http://127.0.0.1:8000", help="Triton's HTTP port")
    given = options.parse_args()
    if (given.query is None) == (given.image is None):
        options.error("give a query or --image")
    inputs: dict[str, tuple[list[int], str, Any]] = {"k": ([1, 1], "INT32", [given.k])}
    try:
        if given.query is not None:
            inputs["query"] = ([1, 1], "BYTES", [given.query])
        else:
            inputs |= image_input(given.image)
        if given.where:
            inputs["where"] = ([1, 1], "BYTES", [given.where])
        found = infer(given.url, inputs)
    except (OSError, ValueError, RuntimeError, http.client.HTTPException) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    hits = zip(found["ids"], found["scores"], found["metadata"], strict=True)
    for rank, (name, score, metadata) in enumerate(hits, 1):
        print(f"{rank}  {score:.4f}  {name}  {metadata}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
