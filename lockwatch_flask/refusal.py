"""The answer to a refused request, in the application's own way where it has one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from flask import Response, current_app, request
from werkzeug.exceptions import HTTPException, default_exceptions

from lockwatch.errors import OUTAGES, RateLimited, RequestRefused, TokenError, outage
from lockwatch.guard import Refused
from lockwatch.headers import problem


def rendered(refused: Refused, dialect: str) -> tuple[int, list[tuple[str, str]], bytes]:
    """Status, headers and body of a refusal. `dialect` is ``off`` where quota headers are added on the way out."""
    if isinstance(refused, RequestRefused):
        status, headers, body = problem(refused, dialect, time.time())
    else:
        from lockwatch.tokens.refusals import token_problem

        status, headers, body = token_problem(refused)
    return status, [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers], body


def handle(refused: Any) -> Any:
    """The error handler for refusals, and for outages that a view meets. A handler of the application's for the status, or for
    `HTTPException`, is asked first: the exception it is given has the refusal as `lockwatch`, and our response as its response.
    """
    from lockwatch_flask.visit import visit_in

    refused = outage(refused) if isinstance(refused, OUTAGES) else refused
    visit = visit_in(request.environ)
    if visit is not None:
        visit.refusal = refused.code
    status, headers, body = rendered(refused, "both" if visit is None else "off")
    response = Response(body, status, headers)
    http = default_exceptions[status](str(refused), response)
    http.lockwatch = refused  # type: ignore[attr-defined]
    handler = handler_of(current_app, request.blueprints, http)
    return response if handler is None else current_app.ensure_sync(handler)(http)


def ensure_handled(app: Any) -> None:
    """Make an application answer refusals, where it has no handler for them."""
    for error in (RequestRefused, TokenError, *OUTAGES):
        app.error_handler_spec[None][None].setdefault(error, handle)


def handler_of(app: Any, blueprints: list[str], http: HTTPException) -> Any:
    """The application's handler for an HTTP error; a handler for every `Exception` is not meant."""
    for code in (http.code, None):
        for name in (*blueprints, None):
            registered = app.error_handler_spec[name][code]
            for kind in _kinds(type(http)):
                if (found := registered.get(kind)) is not None:
                    return found
    return None


def own_answers(app: Any) -> bool:
    """Whether any part of the application answers a 429 in its own way."""
    kinds = {*_kinds(default_exceptions[429]), RateLimited, RequestRefused}
    return any(
        handler is not handle
        for by_code in app.error_handler_spec.values()
        for code in (429, None)
        for kind, handler in by_code.get(code, {}).items()
        if kind in kinds
    )


def _kinds(kind: type) -> Iterator[type]:
    return (one for one in kind.__mro__ if issubclass(one, HTTPException))
