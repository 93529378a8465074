"""What a store or the way to it refuses, in one line that repeats nothing secret."""

from __future__ import annotations

import re

from itr_deploy.errors import GalleryError, GalleryUnreadableError, ItrDeployError

REMEDIES = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ENDPOINT",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
"""Variables that say who asks, and where."""

DENIED = (
    "accessdenied",
    "permission denied",
    "forbidden",
    "403",
    "401",
    "unauthenticated",
    "signaturedoesnotmatch",
    "invalidaccesskeyid",
    "expiredtoken",
)
NO_CREDENTIALS = ("169.254.169.254", "metadata", "credential", "missing accesskey", "token")
AWAY = (
    "error sending request",
    "connect",
    "timed out",
    "timeout",
    "dns",
    "kind: request",
    "tcp",
)


def store_error(url: str, error: BaseException) -> ItrDeployError:
    """One line for what a store or the way to it refuses; nothing secret is repeated."""
    # What a request was made of is in the part that follows.
    said = str(error).partition("Debug source")[0]
    text, scheme = said.lower(), url.partition(":")[0]
    bucket = url.partition("://")[2].partition("/")[0]
    code = re.search(r"<Code>(\w{1,60})</Code>", said)
    known = f" ({code[1]})" if code else ""
    if "nosuchbucket" in text or "containernotfound" in text:
        return GalleryError(f"{url}: there is no bucket {bucket!r}; make it, or correct the URL")
    if "permanentredirect" in text or "301 moved" in text or "authorizationheadermalformed" in text:
        return GalleryError(f"{url}: the bucket is in another region; set AWS_REGION to its own")
    if "notimplemented" in text or "501 " in text:
        return GalleryError(
            f"{url}: this store has no conditional writes, which writing to a gallery takes; "
            "index into a local directory and copy it there"
        )
    local = any(sign in text for sign in ("169.254.169.254", "/latest/api/token", "/latest/meta"))
    if local or ("provider" in text and "credential" in text):
        return no_credentials(url)
    if any(sign in text for sign in DENIED):
        return GalleryError(
            f"{url}: access is denied{known}; check {REMEDIES[scheme]} and what they may do there"
        )
    if any(sign in text for sign in AWAY):
        return GalleryUnreadableError(
            f"{url}: the store cannot be reached; check the network, the endpoint and "
            f"{REMEDIES[scheme]}, and try again"
        )
    if any(sign in text for sign in NO_CREDENTIALS):
        return no_credentials(url)
    status = re.search(r"status code: (\d{3}[ \w]{0,40})", said)
    what = f"answered {status[1].strip()}{known}" if status else f"failed{known}"
    return GalleryUnreadableError(f"{url}: the store {what}; check {REMEDIES[scheme]}")


def no_credentials(url: str, kind: str = "") -> GalleryError:
    """For a store whose credentials are nowhere; ``kind`` is the error that said so."""
    said = f" ({kind})" if kind else ""
    return GalleryError(
        f"{url}: no credentials for it were found{said}; set {REMEDIES[url.partition(':')[0]]}"
    )
