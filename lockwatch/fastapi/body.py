"""Reading a body for a key: at most so many bytes, and the application gets every one of them afterwards."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.types import Message, Receive, Scope

from lockwatch.errors import ConfigurationError
from lockwatch.keys import BodyKey


@dataclass(frozen=True, slots=True)
class Fields:
    """The members of a body, as the framework's own parser finds them; `too_long` when it was not read to its end."""

    fields: Mapping[str, Any]
    too_long: bool = False


class Reading:
    """The beginning of a body, and how to give it back.

    Args:
        receive: where it comes from.
        most: bytes to read at most.
    """

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive = receive
        self._most = most
        self._messages: deque[Message] = deque()

    async def read(self, scope: Scope) -> tuple[bytes, bool]:
        """The body, and whether it is longer than that; what there is of it when the client has gone."""
        length = dict(scope["headers"]).get(b"content-length", b"")
        if length.isdigit() and int(length[:20]) > self._most:
            return b"", True
        parts, size, more = [], 0, True
        while more and size <= self._most:
            message = await self._receive()
            self._messages.append(message)
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            more = message["type"] == "http.request" and message.get("more_body", False)
        return b"".join(parts), size > self._most

    async def replay(self) -> Message:
        """The messages that were read, then the others: a `receive` for the application."""
        return self._messages.popleft() if self._messages else await self._receive()


async def fields_of(key: BodyKey, scope: Scope, body: bytes, too_long: bool) -> Fields:
    """What `key` finds in a body. Raises: ConfigurationError, when forms cannot be parsed here."""
    if too_long:
        return Fields({}, too_long=True)
    return Fields(_members(body) if key.kind == "json" else await _form(scope, body))


def _members(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


async def _form(scope: Scope, body: bytes) -> Mapping[str, Any]:
    """The fields of a form; of a field that is there twice the last, as an endpoint gets it."""

    async def once() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    try:
        form = await Request({**scope, "state": {}}, once).form()
    except (HTTPException, MultiPartException):
        return {}
    except AssertionError:
        raise ConfigurationError("by_form needs python-multipart, as forms in FastAPI do: pip install python-multipart") from None
    try:
        return dict(form)
    finally:
        await form.close()
