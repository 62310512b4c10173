"""Requests of assertions, through whatever test client there is, and what an assertion says that failed."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from inspect import iscoroutinefunction
from typing import Any

SHOWN = ("retry-after", "www-authenticate", "ratelimit-policy", "ratelimit")
"""Headers of a response that an assertion shows."""


class Sent:
    """A request and what came back."""

    def __init__(self, number: int, method: str, path: str, request: Mapping[str, Any], response: Any) -> None:
        self.response = response
        self.status: int = response.status_code
        self._line = f"{method} {path}"
        self._number, self._request = number, request

    def header(self, name: str) -> str | None:
        """A header of the response."""
        found: str | None = self.response.headers.get(name)
        return found

    def __str__(self) -> str:
        told = [f"{name}: {value}" for name in SHOWN if (value := self.header(name)) is not None]
        sent = [f"{name}={_shown(name, value)}" for name, value in self._request.items()]
        return "\n".join(
            [
                f"  sent:     request {self._number}: {' '.join([self._line, *sent])}",
                f"  returned: {self.status} {self._body()}",
                *[f"            {line}" for line in told],
            ]
        )

    def _body(self) -> str:
        text = self.response.get_data(as_text=True) if hasattr(self.response, "get_data") else self.response.text
        return str(text)[:300]


Asking = Generator[dict[str, Any], Sent, Sent]


def judge(fine: bool, otherwise: str, sent: Sent) -> None:
    """Raises: AssertionError, unless it is `fine`."""
    if not fine:
        __tracebackhide__ = True
        raise AssertionError(f"{otherwise}\n{sent}")


def ask(client: Any, asking: Asking, method: str, path: str, request: Mapping[str, Any]) -> Any:
    """Drive an assertion with a client that blocks. Raises: AssertionError; TypeError for one that is awaited."""
    __tracebackhide__ = True
    if is_awaited(client):
        asking.close()
        raise TypeError("this client has to be awaited; use the assertion whose name ends in _async, with await")
    number, changes = 1, next(asking)
    try:
        while True:
            asked = _with_token(request, changes)
            changes = asking.send(Sent(number, method, path, asked, _send(client, method, path, asked)))
            number += 1
    except StopIteration as stop:
        return stop.value.response


async def ask_async(client: Any, asking: Asking, method: str, path: str, request: Mapping[str, Any]) -> Any:
    """The same with a client that is awaited."""
    __tracebackhide__ = True
    if not is_awaited(client):
        asking.close()
        raise TypeError("this client is not awaited; use the assertion whose name does not end in _async")
    number, changes = 1, next(asking)
    try:
        while True:
            asked = _with_token(request, changes)
            changes = asking.send(Sent(number, method, path, asked, await client.request(method, path, **asked)))
            number += 1
    except StopIteration as stop:
        return stop.value.response


def is_awaited(client: Any) -> bool:
    """Whether a client has to be awaited."""
    return iscoroutinefunction(getattr(client, "request", None))


def _send(client: Any, method: str, path: str, request: Mapping[str, Any]) -> Any:
    """Of a client of werkzeug, or one like httpx."""
    return client.open(path, method=method, **request) if hasattr(client, "open") else client.request(method, path, **request)


def _with_token(request: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """What is sent: as asked for, with the token that the assertion wants, or with none."""
    if "token" not in changes:
        return dict(request)
    headers = {name: value for name, value in dict(request.get("headers") or {}).items() if name.lower() != "authorization"}
    if changes["token"] is not None:
        headers["Authorization"] = f"Bearer {changes['token']}"
    return {**request, "headers": headers}


def _shown(name: str, value: Any) -> str:
    """An argument as a message shows it; credentials are cut short."""
    if name != "headers":
        return repr(value)[:100]
    return repr({key: f"{text[:24]}..." if key.lower() == "authorization" else text for key, text in dict(value).items()})[:300]
