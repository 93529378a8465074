"""Where the parts of a gallery lie until they are joined: a directory beside the gallery.

``gallery.parts/`` holds ``plan.json``, one directory per finished part, those of parts that are
being made under their temporary names, and ``locks/``.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from itr_deploy.bundle.files import output_errors
from itr_deploy.bundle.leftovers import shortened
from itr_deploy.runtime.gallery.files import address_of
from itr_deploy.runtime.gallery.lock import writer_lock

SUFFIX = ".parts"


@dataclass(frozen=True)
class Place:
    """The directory of the parts of a gallery.

    Attributes:
        output: The gallery that they become.
    """

    output: Path

    @property
    def root(self) -> Path:
        """The directory, whether it is there or not."""
        output = Path(address_of(self.output))
        return output.parent / (shortened(output.name) + SUFFIX)

    @property
    def plan(self) -> Path:
        """The file with what all parts agree on."""
        return self.root / "plan.json"

    def part(self, number: int) -> Path:
        """The directory of a part, which is there once the part is finished."""
        return self.root / f"part-{number:05}"

    @contextmanager
    def locked(self, what: str, name: str, timeout: float) -> Iterator[None]:
        """Let no other process do the same, on no machine that sees the directory.

        Args:
            what: What is locked, for messages.
            name: The lock's name.
            timeout: Seconds to wait for another process.

        Raises:
            GalleryBusyError: Another process is at it for longer.
            OutputError: The directory cannot be written to.
        """
        folder = self.root / "locks" / name
        with output_errors(self.root):
            folder.mkdir(parents=True, exist_ok=True)
        with writer_lock(what, folder, timeout):
            yield

    def remove(self) -> None:
        """Remove the directory, the plan last: a killed run is gone on with by what it says."""
        with suppress(OSError):  # another commit removes it too
            for path in self.root.iterdir():
                if path != self.plan:
                    shutil.rmtree(path, ignore_errors=True)
            self.plan.unlink(missing_ok=True)
        shutil.rmtree(self.root, ignore_errors=True)
