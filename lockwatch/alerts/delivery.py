"""One attempt to deliver a message. Does I/O, on the worker's loop.

The connection goes to an address that was checked a moment ago, with the name of the receiver in ``Host`` and in TLS; it is used
once. Redirects are not followed, proxies of the environment not asked, and of the answer only status and ``Retry-After`` are read.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import Final

import httpx

from lockwatch import __version__
from lockwatch.alerts.channels import Endpoint, Message
from lockwatch.alerts.resolver import Resolver
from lockwatch.alerts.schedule import Answer, read_retry_after
from lockwatch.alerts.ssrf import Target, checked

TIMEOUT: Final = 15.0
"""Seconds for everything, from the name to the status."""
CONNECT: Final = 5.0
_ADDRESSES: Final = 3
_DISCARDED: Final = 16 * 1024
_POLITE: Final = 1.0
"""Bytes of an answer, and seconds, that are read so that the receiver is not cut off; nobody looks at them."""


class Courier:
    """Sends messages.

    Args:
        resolver: knows addresses.
        trust: whose certificates are believed; None for those that httpx believes (``SSL_CERT_FILE`` changes that).
        timeout: seconds for an attempt.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        resolver: Resolver | None = None,
        trust: ssl.SSLContext | None = None,
        timeout: float = TIMEOUT,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._resolver = resolver or Resolver()
        self._trust = trust
        self._timeout = timeout
        self._clock = clock

    async def send(self, endpoint: Endpoint, name: str, body: bytes) -> Answer:
        """Try once. Never raises, except when cancelled.

        Args:
            name: id of the alert.
            body: as rendered.
        """
        try:
            message = endpoint.message(name, body, self._clock())
        except Exception as error:  # a function of the application's failed to say the secret
            return Answer(0, f"its secret cannot be had: {type(error).__name__}")
        quiet = _quiet.set(True)
        try:
            async with asyncio.timeout(self._timeout):
                return await self._deliver(endpoint.target, message)
        except TimeoutError:
            return Answer(0, f"no answer within {self._timeout:g} seconds")
        finally:
            _quiet.reset(quiet)

    async def _deliver(self, target: Target, message: Message) -> Answer:
        reason, addresses = checked(target, await self._resolver.addresses(target.host, target.port))
        answer = Answer(0, reason)
        for address in addresses[:_ADDRESSES]:
            try:
                return await self._post(target, address, message)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                answer = Answer(0, _cause(error))
            except httpx.HTTPError as error:
                return Answer(0, f"the connection broke: {type(error).__name__}")
        return answer

    async def _post(self, target: Target, address: str, message: Message) -> Answer:
        """Raises: httpx.HTTPError."""
        transport = httpx.AsyncHTTPTransport(verify=self._trusted(), trust_env=False, limits=httpx.Limits(max_connections=1))
        async with transport:
            response = await transport.handle_async_request(self._request(target, address, message))
            answer = self._read(response)
            await _discard(response)
        return answer

    def _request(self, target: Target, address: str, message: Message) -> httpx.Request:
        host = f"[{address}]" if ":" in address else address
        fixed = {"host": target.authority, "user-agent": f"lockwatch/{__version__}", "accept": "*/*", "connection": "close"}
        waits = {"connect": CONNECT, "read": self._timeout, "write": self._timeout, "pool": self._timeout}
        return httpx.Request(
            "POST",
            f"{target.scheme}://{host}:{target.port}{target.path}",
            headers={**fixed, **message.headers},
            content=message.body,
            extensions={"sni_hostname": target.host, "timeout": waits},
        )

    def _read(self, response: httpx.Response) -> Answer:
        after = read_retry_after(response.headers.get("retry-after"), self._clock())
        return Answer(response.status_code, retry_after=after)

    def _trusted(self) -> ssl.SSLContext:
        if self._trust is None:
            self._trust = httpx.create_ssl_context()
        return self._trust


async def _discard(response: httpx.Response) -> None:
    """Let the receiver finish, if that does not take long."""
    size = 0
    with suppress(TimeoutError, httpx.HTTPError):
        async with asyncio.timeout(_POLITE):
            async for part in response.aiter_raw():
                size += len(part)
                if size > _DISCARDED:
                    break
    with suppress(httpx.HTTPError):
        await response.aclose()


def _cause(error: httpx.HTTPError) -> str:
    """Why there is no connection, in words that no receiver chose."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return "its certificate is not believed"
        if isinstance(cause, ssl.SSLError):
            return "no TLS with it"
        if isinstance(cause, ConnectionRefusedError):
            return "it refuses connections"
        cause = cause.__cause__ or cause.__context__
    return "no connection with it"


class _Unsaid(logging.Filter):
    """Drops what the HTTP client says about our deliveries, and nothing about anybody else's."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not _quiet.get()


_quiet: ContextVar[bool] = ContextVar("lockwatch_quiet", default=False)
_unsaid = _Unsaid()
for _name in ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.proxy"):
    logging.getLogger(_name).addFilter(_unsaid)
