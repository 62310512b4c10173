"""Where a query goes on: the place of a row in the order of the log, opaque and signed. Pure."""

from __future__ import annotations

import base64
import binascii
import hmac
from hashlib import blake2s
from struct import Struct
from typing import Final, NamedTuple

from lockwatch.errors import CursorError

_PLACE: Final = Struct(">Bq16s")
_VERSION: Final = 1
_TAG: Final = 12
_LONGEST: Final = 64


class Place(NamedTuple):
    """A row's place: by time, then by id."""

    timestamp: int
    id: str


def encode(place: Place, key: bytes = b"") -> str:
    """A cursor of 50 characters of the base64url alphabet. Without a `key` its tag finds accidents, not intent.

    A cursor says where to go on and nothing else: it opens no row that the query's own filters do not.
    """
    body = _PLACE.pack(_VERSION, place.timestamp, bytes.fromhex(place.id.replace("-", "")))
    return base64.urlsafe_b64encode(body + _tag(body, key)).decode().rstrip("=")


def decode(text: str, key: bytes = b"") -> Place:
    """The place a cursor stands for. Raises: CursorError."""
    body, tag = _parts(text)
    if not hmac.compare_digest(tag, _tag(body, key)) or body[0] != _VERSION:
        raise CursorError("the cursor was changed, or is from a log with another secret_key; begin without one")
    _, timestamp, number = _PLACE.unpack(body)
    digits: str = number.hex()
    return Place(timestamp, f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}")


def _parts(text: str) -> tuple[bytes, bytes]:
    try:
        raw = base64.b64decode(text[:_LONGEST].encode("ascii") + b"==", b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raw = b""
    if len(raw) != _PLACE.size + _TAG or len(text) > _LONGEST:
        raise CursorError("not a cursor; use the one of an entry that a query answered")
    return raw[: _PLACE.size], raw[_PLACE.size :]


def _tag(body: bytes, key: bytes) -> bytes:
    return blake2s(body, key=key[:32], digest_size=_TAG, person=b"lwcursor").digest()
