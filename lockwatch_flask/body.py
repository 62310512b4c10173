"""Reading a body for a key: at most so many bytes, and the application gets every one of them afterwards."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO, RawIOBase
from typing import Any

from flask import current_app, request
from werkzeug.exceptions import HTTPException
from werkzeug.wsgi import get_input_stream

from lockwatch.keys import BodyKey


@dataclass(frozen=True, slots=True)
class Fields:
    """The members of a body, as Flask's own parser finds them; `too_long` when it was not read to its end."""

    fields: Mapping[str, Any]
    too_long: bool = False


class Given(RawIOBase):
    """A body whose beginning was read: that, then the rest."""

    def __init__(self, beginning: bytes, rest: Any) -> None:
        self._beginning = BytesIO(beginning)
        self._rest = rest

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """As of any raw stream."""
        part = self._beginning.read(len(buffer)) or self._rest.read(len(buffer))
        buffer[: len(part)] = part
        return len(part)


def fields_of(key: BodyKey, most: int) -> Fields:
    """What `key` finds in the body of the request that Flask works on.

    Args:
        most: bytes that any key of the route wants.
    """
    if key.kind == "form" and "form" in request.__dict__:  # a function of the application has read it
        return Fields(request.form)
    body, too_long = _beginning(most)
    if too_long or len(body) > key.max_bytes:
        return Fields({}, too_long=True)
    return Fields(_members(body) if key.kind == "json" else _form(body))


def _beginning(most: int) -> tuple[bytes, bool]:
    """The body, and whether it is longer than that."""
    if "stream" in request.__dict__:
        body = request.get_data(cache=True)
        return body, len(body) > most
    if (request.content_length or 0) > most:
        return b"", True
    environ = request.environ
    stream = get_input_stream(environ)
    body = _read(stream, most + 1)
    environ["wsgi.input"] = Given(body, stream)
    return body, len(body) > most


def _read(stream: Any, most: int) -> bytes:
    parts, left = [], most
    while left and (part := stream.read(left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _members(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _form(body: bytes) -> Mapping[str, Any]:
    """The fields of a form; of a field that is there twice the first, as a view gets it."""
    environ = {**request.environ, "wsgi.input": BytesIO(body), "CONTENT_LENGTH": str(len(body))}
    environ.pop("werkzeug.request", None)
    try:
        return current_app.request_class(environ, populate_request=False).form
    except HTTPException:
        return {}
