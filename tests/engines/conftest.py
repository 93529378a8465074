"""The bundle without a model, shared with the tests of bundles."""

from tests.bundle.conftest import opened, small

__all__ = ["opened", "small"]
