"""The packages that ``itr_search`` imports, with the versions that work in Triton."""

from __future__ import annotations

from importlib.metadata import version


def environment(device: str) -> str:
    """A file of requirements for the Python of Triton's Python backend.

    Args:
        device: ``"cpu"`` or ``"cuda"``.
    """
    extra = "gpu" if device == "cuda" else "cpu"
    return (
        "# What itr_search imports: pip install -r environment.txt\n"
        f"itr-deploy[{extra}]=={version('itr-deploy')}\n"
        "# Triton's Python backend of 2.51, which nvidia-pytriton 0.7 has, takes no NumPy 2;\n"
        "# newer ones do, and then both lines may go.\n"
        "numpy<2\n"
        "pyarrow<24\n"
    )
