"""Prints this machine's Python, libraries and GPUs, as one JSON object."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec

from itr_deploy.engines.cuda import probe

MODULES = (
    "itr_deploy",
    "numpy",
    "onnxruntime",
    "onnx",
    "onnxscript",
    "torch",
    "transformers",
    "lancedb",
    "pyarrow",
    "tokenizers",
    "tensorrt",
    "tensorrt_rtx",
    "cuda",
)


def main() -> None:
    """Print it."""
    distributions = packages_distributions()
    cuda = probe()
    found = {
        "python": platform.python_version(),
        "system": platform.platform(),
        "libc": " ".join(platform.libc_ver()),
        "cores": os.cpu_count(),
        "modules": {
            name: ", ".join(
                f"{one} {version(one)}" for one in dict.fromkeys(distributions.get(name, [name]))
            )
            for name in MODULES
            if find_spec(name) is not None
        },
        "driver": cuda.driver,
        "gpus": [asdict(gpu) for gpu in cuda.gpus],
        "no_gpu": cuda.problem,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
