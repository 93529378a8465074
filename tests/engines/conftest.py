"""The bundle without a model, which the tests of bundles have too."""

from tests.bundle.conftest import opened, small

__all__ = ["opened", "small"]
