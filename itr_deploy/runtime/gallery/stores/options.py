"""What LanceDB and the client are told of a store: the caller's options, and bounds of time.

Both read the same environment variables, so that nothing of it passes through here but what has to
be decided: whether a plain HTTP endpoint was asked for, and how long to wait.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from itr_deploy.errors import SetupError, UsageError
from itr_deploy.paths import StoreUrl
from itr_deploy.runtime.gallery.stores.refusals import no_credentials

RETRIES, RETRY_SECONDS = 3, 20
CONNECT, REQUEST, SMALL = "5s", "60s", "15s"
"""A store that is away is one error within seconds, not within LanceDB's three minutes."""

OF_THE_CLIENT = {
    "allow_http": "allow_http",
    "allow_invalid_certificates": "allow_invalid_certificates",
    "connect_timeout": "connect_timeout",
    "timeout": "timeout",
    "request_timeout": "timeout",
    "user_agent": "user_agent",
    "proxy_url": "proxy_url",
    "proxy_ca_certificate": "proxy_ca_certificate",
    "proxy_excludes": "proxy_excludes",
}
OF_LANCE = {"client_max_retries", "client_retry_timeout", "download_retry_count"}
ENDPOINTS = {
    "s3": ("aws_endpoint", "aws_endpoint_url", "aws_endpoint_url_s3", "endpoint", "endpoint_url"),
    "gs": ("google_base_url", "base_url"),
    "az": ("azure_storage_endpoint", "azure_endpoint", "endpoint"),
}
ALLOWED = ("aws_allow_http", "google_allow_http", "azure_allow_http", "allow_http")
REGIONS = ("aws_region", "aws_default_region", "region", "default_region")
YES = ("1", "true", "yes", "on")
KEYS = ("aws_access_key_id", "access_key_id")
SERVED = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
"""Variables by which a container gets its credentials."""


@dataclass(frozen=True, repr=False)
class Options:
    """What a store is opened with; never shown, as there may be secrets.

    Attributes:
        lance: LanceDB's ``storage_options``.
        config: The client's, of the store.
        client: The client's, of its connections.
        credentials: The client's source of credentials where the environment has none, or None.
    """

    lance: Mapping[str, str]
    config: Mapping[str, str]
    client: Mapping[str, Any]
    credentials: Any

    @property
    def retries(self) -> dict[str, Any]:
        """The client's bounds of tries."""
        return {"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_SECONDS)}


def options_of(url: StoreUrl, given: Mapping[str, str]) -> Options:
    """What a store is opened with.

    Raises:
        GalleryError: There are no credentials.
        SetupError: They are in a profile, which nothing here can read.
        UsageError: An option is no text.
    """
    for name, value in given.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise UsageError(
                "storage_options= are texts by name; give for example "
                "{'aws_endpoint': 'http://127.0.0.1:9000'}"
            )
    own = {name.lower(): value for name, value in given.items()}
    lance = {
        "client_max_retries": str(RETRIES),
        "client_retry_timeout": str(RETRY_SECONDS),
        "connect_timeout": CONNECT,
        "timeout": REQUEST,
    }
    scheme = url.partition(":")[0]
    endpoint = _told(own, ENDPOINTS[scheme]) or ""
    if scheme == "s3" and endpoint:
        # Otherwise LanceDB asks Amazon for the region.
        lance["aws_region"] = _told(own, REGIONS) or "us-east-1"
    if endpoint.startswith("http://") or (_told(own, ALLOWED) or "").lower() in YES:
        lance["allow_http"] = "true"
    lance |= own
    client: dict[str, Any] = {
        OF_THE_CLIENT[name]: value for name, value in lance.items() if name in OF_THE_CLIENT
    }
    # The client's requests are small, and the first of all is one.
    client["timeout"] = own.get("timeout") or own.get("request_timeout") or SMALL
    for name in ("allow_http", "allow_invalid_certificates"):
        if name in client:
            client[name] = client[name].lower() in YES
    rest = lance.keys() - OF_THE_CLIENT.keys() - OF_LANCE
    credentials = _of_profile(url, own) if scheme == "s3" else None
    return Options(lance, {name: lance[name] for name in rest}, client, credentials)


def _told(own: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    """The first that is given, as an option or as a variable."""
    found = [own.get(name) or os.environ.get(name.upper()) for name in names]
    return next(filter(None, found), None)


def _of_profile(url: StoreUrl, own: Mapping[str, str]) -> Any:
    """A source of credentials of Amazon's profiles, None where it is not needed.

    LanceDB reads profiles itself; the client does not.

    Raises:
        GalleryError: There are none, and the machine is not to be asked for its own.
        SetupError: boto3, which reads them, is not installed.
    """
    if _told(own, KEYS) or any(name in os.environ for name in SERVED):
        return None
    if _told(own, ("aws_skip_signature", "skip_signature")):
        return None
    default = Path.home() / ".aws" / "credentials"
    file = Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE", default))
    if "AWS_PROFILE" not in os.environ and not file.is_file():
        if os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() in YES:
            raise no_credentials(url)
        return None
    if find_spec("boto3") is None:
        raise SetupError(
            "the credentials for s3:// are in a profile of Amazon's, which boto3 reads; pip "
            "install boto3, or put them into variables: "
            'eval "$(aws configure export-credentials --format env)"'
        )
    from obstore.auth.boto3 import Boto3CredentialProvider

    return Boto3CredentialProvider()
