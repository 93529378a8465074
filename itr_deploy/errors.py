"""The package's exceptions, each with the exit code of the command line.

Every message is one line with what was wrong, the value, and the remedy.
"""

from __future__ import annotations


class ItrDeployError(Exception):
    """Base of all errors that this package raises deliberately."""

    exit_code = 1


class InputError(ItrDeployError):
    """An input cannot be used: a caption, regions, a data directory, an id."""


class CheckpointError(InputError):
    """A checkpoint, or a file belonging to it, cannot be read or is not what it should be."""


class BundleError(InputError):
    """A bundle is damaged, incomplete, from a newer version, or not a bundle."""


class GalleryError(InputError):
    """A gallery is missing, was made with another bundle, or cannot take what it is given."""


class GalleryBusyError(GalleryError):
    """Another process or thread is writing to a gallery; it may be tried again later."""


class GalleryUnreadableError(GalleryError):
    """A gallery's files are damaged or gone, or others took their place since it was opened."""


class OutputError(InputError):
    """An output cannot be written: it already exists, or the disk is full or read-only."""


class UsageError(ItrDeployError):
    """The command or the call makes no sense as it stands."""

    exit_code = 2


class ParityError(ItrDeployError):
    """The bundle's figures differ from PyTorch's by more than the tolerance."""

    exit_code = 3


class SetupError(ItrDeployError):
    """The machine lacks something: a package, a provider, a device."""

    exit_code = 4


class ServiceError(ItrDeployError):
    """A service cannot be reached, or does not answer."""

    exit_code = 4


class ShardUnavailableError(ServiceError):
    """A shard of a gallery does not answer, and hits of the others alone were not asked for."""


class EngineError(ItrDeployError):
    """An engine cannot be built from a graph, or does not fit the machine or the bundle."""

    exit_code = 4


class InterruptedWorkError(ItrDeployError):
    """The user stopped the work; the next run resumes it from what was kept."""

    exit_code = 130
