"""Asking an object store for what LanceDB does not tell: names, manifests, the writer's lease."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from typing import Any

from itr_deploy.errors import ItrDeployError, SetupError, UsageError
from itr_deploy.paths import StoreUrl
from itr_deploy.runtime.gallery.stores.options import Options
from itr_deploy.runtime.gallery.stores.refusals import no_credentials, store_error

PAGE = 1000
"""Objects that a store lists at once."""


@dataclass(frozen=True)
class Found:
    """An object of a store, as it was listed."""

    name: str
    bytes: int
    written: datetime


@dataclass(frozen=True)
class Content:
    """An object's bytes, when it was written, and what names this state of it."""

    bytes: bytes
    written: datetime
    state: dict[str, Any]


class TakenError(Exception):
    """An object is there already, or is not in the state that was expected."""


class Client:
    """The objects below a URL. Safe to use from several threads."""

    def __init__(self, url: StoreUrl, options: Options) -> None:
        """Connect to nothing yet.

        Raises:
            SetupError: obstore is not installed.
            UsageError: An option is not known.
        """
        if find_spec("obstore") is None:
            raise SetupError(
                f"{url}: object stores are read with obstore, which is not installed; pip install "
                "'itr-deploy[stores]'"
            )
        from obstore import exceptions
        from obstore.store import from_url

        self.url = url
        try:
            opened: Any = from_url
            self._store = opened(
                url,
                config=dict(options.config),
                client_options=dict(options.client),
                retry_config=options.retries,
                credential_provider=options.credentials,
            )
        except exceptions.UnknownConfigurationKeyError as error:
            raise UsageError(
                f"storage_options=: one of {', '.join(sorted(options.config))} is not known for "
                f"{url.partition(':')[0]}://"
            ) from error
        except (exceptions.BaseError, ValueError) as error:
            raise store_error(url, error) from error

    def first(self, prefix: str) -> list[Found]:
        """The first `PAGE` objects below a prefix, where the store has an order of their names."""
        with self._errors():
            page: Any = next(iter(self._listing(prefix)), [])
        return [_found(entry) for entry in page]

    def all(self, prefix: str = "") -> list[Found]:
        """All objects below a prefix."""
        with self._errors():
            return [_found(entry) for page in self._listing(prefix) for entry in page]

    def read(self, name: str) -> Content | None:
        """An object, None if there is none."""
        import obstore

        with self._errors():
            try:
                got = obstore.get(self._store, name)
                return Content(bytes(got.bytes()), got.meta["last_modified"], _state(got.meta))
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise
                return None

    def write(self, name: str, content: bytes, state: dict[str, Any] | None) -> dict[str, Any]:
        """Write an object that is in some state, or with None one that is not there.

        Returns:
            The state that it is in now.

        Raises:
            TakenError: It is in another state.
        """
        import obstore
        from obstore import exceptions

        with self._errors():
            try:
                mode: Any = "create" if state is None else state
                return _state(obstore.put(self._store, name, content, mode=mode))
            except (exceptions.AlreadyExistsError, exceptions.PreconditionError) as error:
                raise TakenError from error
            except FileNotFoundError as error:
                if state is None:
                    raise
                raise TakenError from error

    def now(self, name: str) -> datetime:
        """The store's clock, by an object that is written for it."""
        import obstore

        with self._errors():
            obstore.put(self._store, name, b"")
            found: datetime = obstore.head(self._store, name)["last_modified"]
            return found

    def remove(self, names: list[str]) -> None:
        """Remove objects."""
        import obstore

        if names:
            with self._errors():
                obstore.delete(self._store, names)

    def _listing(self, prefix: str) -> Any:
        import obstore

        return obstore.list(self._store, prefix or None, chunk_size=PAGE)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        from obstore import exceptions

        try:
            yield
        except (ItrDeployError, TakenError):
            raise
        except (exceptions.BaseError, OSError, ValueError) as error:
            raise store_error(self.url, error) from error
        except Exception as error:
            # A source of credentials may raise anything, and say them.
            if type(error).__module__.partition(".")[0] not in ("botocore", "boto3", "google"):
                raise
            raise no_credentials(self.url, type(error).__name__) from error


def _found(entry: Any) -> Found:
    return Found(entry["path"], entry["size"], entry["last_modified"])


def _state(meta: Any) -> dict[str, Any]:
    return {name: meta[name] for name in ("e_tag", "version") if meta[name] is not None}
