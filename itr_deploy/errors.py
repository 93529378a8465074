"""The package's exceptions, each with the exit code the command line ends with.

Every message is one line that says what was wrong, the value, and the remedy.
"""

from __future__ import annotations


class ItrDeployError(Exception):
    """Base of all errors this package raises on purpose."""

    exit_code = 1


class InputError(ItrDeployError):
    """What the user gave cannot be used: a caption, regions, a data directory, an id."""


class CheckpointError(InputError):
    """A checkpoint, or a file that belongs to it, cannot be read or is not what it should be."""


class BundleError(InputError):
    """A bundle is damaged, incomplete, from a newer version, or not a bundle."""


class GalleryError(InputError):
    """A gallery is missing, was made with another bundle, or cannot take what it is given."""


class GalleryBusyError(GalleryError):
    """Another process or thread is writing to a gallery; it may be tried again later."""


class OutputError(InputError):
    """What should be written cannot be: it exists already, or the disk is full or read-only."""


class UsageError(ItrDeployError):
    """The command or the call makes no sense as it stands."""

    exit_code = 2


class ParityError(ItrDeployError):
    """The bundle's figures differ from PyTorch's by more than the tolerance."""

    exit_code = 3


class SetupError(ItrDeployError):
    """Something the machine lacks: a package, a provider, a device."""

    exit_code = 4


class EngineError(ItrDeployError):
    """An engine cannot be built from a graph, or does not fit the machine or the bundle."""

    exit_code = 4


class InterruptedWorkError(ItrDeployError):
    """Stopped by the user with something left that the next run goes on from."""

    exit_code = 130
