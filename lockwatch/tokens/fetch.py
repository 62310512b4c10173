"""Fetching the keys of a third party. Does I/O; for the worker, never for a request."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urljoin, urlsplit

import httpx

from lockwatch.errors import ConfigurationError, IssuerError
from lockwatch.tokens.engine import Engine
from lockwatch.tokens.issuers import Issuer, check_url, jwks_url_in
from lockwatch.tokens.jwks import MAX_SET_BYTES, read_keys
from lockwatch.tokens.keys import Key

TIMEOUT: Final = 10.0
MAX_REDIRECTS: Final = 3
_HEADERS: Final = {"accept": "application/json", "accept-encoding": "identity"}
"""Uncompressed, so that a few bytes cannot become many."""
_MAX_AGE: Final = re.compile(r"(?:^|[\s,])max-age=\"?([0-9]{1,9})", re.IGNORECASE)


async def fetch_keys(client: httpx.AsyncClient, issuer: Issuer, engine: Engine) -> tuple[Mapping[str, Key], float | None]:
    """The keys of `issuer` by kid, and for how many seconds they are said to be fresh. Raises: IssuerError."""
    url = issuer.jwks_url
    if url is None:
        document, _ = await fetch(client, issuer.discovery_url)
        url = jwks_url_in(document, issuer)
    body, max_age = await fetch(client, url)
    return read_keys(body, issuer.algorithms, engine), max_age


async def fetch(client: httpx.AsyncClient, url: str, timeout: float = TIMEOUT) -> tuple[bytes, float | None]:  # noqa: ASYNC109
    """The body at `url` and its max-age.

    Only https (http to this machine), redirects only within the same origin, at most 256 KiB, at most `timeout` seconds in all.

    Raises: IssuerError.
    """
    try:
        async with asyncio.timeout(timeout):
            return await _follow(client, check_url("the URL of a key set", url))
    except TimeoutError:
        raise IssuerError(f"{_host(url)} did not send its keys within {timeout:g} seconds") from None
    except (httpx.HTTPError, httpx.InvalidURL, ConfigurationError) as error:
        raise IssuerError(f"the keys of {_host(url)} cannot be fetched: {type(error).__name__}") from error


async def _follow(client: httpx.AsyncClient, url: str) -> tuple[bytes, float | None]:
    for _ in range(MAX_REDIRECTS + 1):
        async with client.stream("GET", url, headers=_HEADERS, follow_redirects=False) as response:
            if response.status_code == 200:
                return await _body(response, url), _fresh(response)
            if response.status_code not in (301, 302, 303, 307, 308):
                raise IssuerError(f"{_host(url)} answers {response.status_code} instead of its keys")
            target = urljoin(url, response.headers.get("location", ""))
        if _origin(target) != _origin(url):
            raise IssuerError(f"{_host(url)} redirects to another host for its keys; set jwks_url to where they are")
        url = target
    raise IssuerError(f"{_host(url)} redirects more than {MAX_REDIRECTS} times")


async def _body(response: httpx.Response, url: str) -> bytes:
    body = bytearray()
    async for part in response.aiter_raw():
        body += part
        if len(body) > MAX_SET_BYTES:
            raise IssuerError(f"{_host(url)} sends more than {MAX_SET_BYTES} bytes")
    return bytes(body)


def _fresh(response: httpx.Response) -> float | None:
    found = _MAX_AGE.search(response.headers.get("cache-control", ""))
    return float(found[1]) if found else None


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def _host(url: str) -> str:
    return urlsplit(url).hostname or "the issuer"
