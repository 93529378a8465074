"""Damage to files, decided by a random generator alone."""

from __future__ import annotations

import random
from pathlib import Path


def damage(root: Path, rng: random.Random) -> Path:
    """Damage one file below a directory; gives it."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    # Small files are as interesting as large ones.
    path = rng.choice(files)
    kind = rng.choice(("flip", "flip", "flip", "cut", "append", "zero", "copy", "remove", "link"))
    content = bytearray(path.read_bytes())
    place = rng.randrange(len(content)) if content else 0
    if kind == "flip" and content:
        content[place] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
    elif kind == "cut":
        path.write_bytes(content[:place])
    elif kind == "append":
        path.write_bytes(content + rng.randbytes(rng.choice([1, 8, 4096])))
    elif kind == "zero":
        content[place : place + 64] = bytes(len(content[place : place + 64]))
        path.write_bytes(content)
    elif kind == "copy":
        path.write_bytes(rng.choice(files).read_bytes())
    elif kind == "remove":
        path.unlink()
    else:
        path.unlink()
        path.symlink_to("/dev/zero")
    return path
