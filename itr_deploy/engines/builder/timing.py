"""A file of the builder's timings: a later build with the same layers is faster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from itr_deploy.bundle.files import write_file
from itr_deploy.engines.tensorrt_api import TensorRT
from itr_deploy.errors import EngineError


@dataclass(frozen=True)
class TimingCache:
    """The cache of one build. Timings of another version or GPU are refused."""

    config: TensorRT.IBuilderConfig
    file: Path | None

    @classmethod
    def attach(cls, config: TensorRT.IBuilderConfig, file: Path | None) -> TimingCache:
        """Give a build the timings of a file; without a file it starts with none.

        Raises:
            EngineError: The file cannot be read, or the library refuses it.
        """
        if file is not None:
            try:
                known = file.read_bytes() if file.exists() else b""
            except OSError as error:
                raise EngineError(f"{file}: cannot be read: {error.strerror}") from error
            cache = config.create_timing_cache(known)
            if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
                raise EngineError(f"{file}: is not taken as a timing cache; delete it")
        return cls(config, file)

    def save(self) -> None:
        """Write the file with what this build added.

        Raises:
            OutputError: The file cannot be written; an earlier one is left unchanged.
        """
        if self.file is None:
            return
        cache = self.config.get_timing_cache()
        content = b"" if cache is None else bytes(cache.serialize())
        if not self.file.exists() or self.file.read_bytes() != content:
            write_file(self.file, content)
