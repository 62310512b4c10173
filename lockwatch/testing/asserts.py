"""Assertions about limits and tokens, for every test client. What was sent and what came back is in the message.

Each is written once, as a generator that yields requests and is sent responses; the functions drive it in either colour.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any, TypeVar

from lockwatch.limits.grammar import parse
from lockwatch.testing.exchanging import Sent, ask, ask_async, judge
from lockwatch.testing.reach import engine_of
from lockwatch.testing.time import VirtualClock
from lockwatch.testing.tokens import token_for

T = TypeVar("T")
Steps = Generator[dict[str, Any], Sent, T]
_GARBAGE = "not.a.token"


def assert_limited(
    client: Any,
    method: str,
    path: str,
    *,
    after: int,
    per: float | str | None = None,
    clock: VirtualClock | None = None,
    **request: Any,
) -> Any:
    """Assert that exactly `after` requests are let in and the next is 429; returns that response.

    Args:
        client: of starlette, httpx or Flask.
        after: how many are let in.
        per: the window, in seconds or like ``"minute"``: the 429 may not ask for a longer wait.
        clock: of `lockwatch.testing.clock`; then it also asserts that a request is let in after the wait that the 429 asks for, and
            moves that clock.
        request: what the client is given with every request, like ``json=...`` or ``headers=...``.

    Raises: AssertionError.
    """
    return ask(client, _limited(after, _seconds(per), clock), method, path, request)


async def assert_limited_async(
    client: Any,
    method: str,
    path: str,
    *,
    after: int,
    per: float | str | None = None,
    clock: VirtualClock | None = None,
    **request: Any,
) -> Any:
    """`assert_limited` for clients that are awaited."""
    return await ask_async(client, _limited(after, _seconds(per), clock), method, path, request)


def assert_not_limited(client: Any, method: str, path: str, *, times: int = 1, **request: Any) -> Any:
    """Assert that so many requests are let in, whatever else they get; returns the last response. Raises: AssertionError."""
    return ask(client, _not_limited(times), method, path, request)


async def assert_not_limited_async(client: Any, method: str, path: str, *, times: int = 1, **request: Any) -> Any:
    """`assert_not_limited` for clients that are awaited."""
    return await ask_async(client, _not_limited(times), method, path, request)


def assert_requires_token(
    client: Any, method: str, path: str, *, scopes: str | Iterable[str] = (), roles: str | Iterable[str] = (), **request: Any
) -> Any:
    """Assert that a route is 401 without a token, with one that is none, and with one that has expired.

    With `scopes` or `roles`, also that it is 403 without all of the scopes, or without the roles, and that a token that has them
    is let in, whatever else it gets; that one response is returned, else the last.

    Args:
        client: of starlette, httpx or Flask. The application is found through it, and has to issue tokens.
        scopes: what the route asks for; a list, or a text with spaces.
        roles: one or several of those it accepts.
        request: what the client is given with every request.

    Raises: AssertionError; TypeError.
    """
    return ask(client, _requires(client, scopes, roles), method, path, request)


async def assert_requires_token_async(
    client: Any, method: str, path: str, *, scopes: str | Iterable[str] = (), roles: str | Iterable[str] = (), **request: Any
) -> Any:
    """`assert_requires_token` for clients that are awaited."""
    return await ask_async(client, _requires(client, scopes, roles), method, path, request)


def _limited(after: int, per: float | None, clock: VirtualClock | None) -> Steps[Sent]:
    for number in range(1, after + 1):
        sent = yield {}
        judge(sent.status != 429, f"request {number} of {after} is limited already", sent)
    sent = yield {}
    judge(sent.status == 429, f"request {after + 1} is let in, {after} should be", sent)
    wait = sent.header("retry-after")
    judge(wait is not None and wait.isdigit(), "the 429 does not say how long to wait", sent)
    seconds = int(wait or 0)
    judge(
        per is None or seconds <= per,
        f"the 429 asks to wait {seconds} seconds, more than the window of {per:g}" if per else "",
        sent,
    )
    if clock is not None:
        clock.advance(seconds)
        again = yield {}
        judge(again.status != 429, f"still limited {seconds} seconds later, which is what the 429 asked for", again)
    return sent


def _not_limited(times: int) -> Steps[Sent]:
    sent = yield {}
    for number in range(1, times + 1):
        judge(sent.status != 429, f"request {number} of {times} is limited", sent)
        if number < times:
            sent = yield {}
    return sent


def _requires(client: Any, scopes: str | Iterable[str], roles: str | Iterable[str]) -> Steps[Sent]:
    engine = engine_of(client)
    wanted, named = _listed(scopes), [roles] if isinstance(roles, str) else list(roles)
    sent = yield {"token": None}
    judge(sent.status == 401, "a request without a token is not 401", sent)
    for what, token in (("that is no token", _GARBAGE), ("that has expired", token_for(engine, "nobody", expired=True))):
        sent = yield {"token": token}
        judge(sent.status == 401, f"a request with a token {what} is not 401", sent)
    lacking = [[one for one in wanted if one != left] for left in wanted]
    for some in lacking:
        sent = yield {"token": token_for(engine, "nobody", scopes=some, roles=named)}
        judge(sent.status == 403, f"a token with the scopes {some} is not 403, {wanted} are needed", sent)
    if named:
        sent = yield {"token": token_for(engine, "nobody", scopes=wanted)}
        judge(sent.status == 403, f"a token without roles is not 403, one of {named} is needed", sent)
    if wanted or named:
        sent = yield {"token": token_for(engine, "nobody", scopes=wanted, roles=named)}
        judge(sent.status not in (401, 403), f"a token with scopes {wanted} and roles {named} is refused", sent)
    return sent


def _listed(scopes: str | Iterable[str]) -> list[str]:
    return scopes.split() if isinstance(scopes, str) else list(scopes)


def _seconds(per: float | str | None) -> float | None:
    """A window in seconds. Raises: ConfigurationError."""
    return parse(f"1/{per}")[0].window if isinstance(per, str) else per
