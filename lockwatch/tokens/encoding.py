"""Base64url and JSON with one spelling for each value: no padding, no stray bits, no duplicate names, no bottomless nesting."""

from __future__ import annotations

import json
import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Mapping
from math import isfinite
from typing import Any, Final, NoReturn

_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_TO_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
_LAST: Final = (frozenset(_ALPHABET), frozenset(b""), frozenset(b"AQgw"), frozenset(b"AEIMQUYcgkosw048"))
"""Which character may come last, by length modulo 4: the bits it does not need are zero."""
_PADDING: Final = (b"", b"", b"==", b"=")
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"{}[]"))
_TEXTS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
MAX_DEPTH: Final = 32


def encode(data: bytes) -> bytes:
    """Base64url without padding (RFC 7515, section 2)."""
    return b2a_base64(data, newline=False).translate(_TO_URL).rstrip(b"=")


def decode(segment: bytes) -> bytes:
    """What `encode` made `segment` of. Raises: ValueError for every other spelling of it, and for nothing at all."""
    rest = len(segment) & 3
    if not segment or segment[-1] not in _LAST[rest] or segment.translate(None, _ALPHABET):
        raise ValueError("not canonical base64url")
    return a2b_base64(segment.translate(_TO_STANDARD) + _PADDING[rest])


def write_object(value: Mapping[str, Any]) -> bytes:
    """Compact JSON in UTF-8. Raises: ValueError, TypeError for what JSON cannot say."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def read_object(data: bytes) -> dict[str, Any]:
    """A JSON object in strict UTF-8, nested at most 32 deep, each name once, numbers finite. Raises: ValueError."""
    if data.count(b"{") + data.count(b"[") > MAX_DEPTH and _depth(data) > MAX_DEPTH:
        raise ValueError("nested too deep")
    text = data.decode().strip(" \t\r\n")
    if text[:1] != "{":
        raise ValueError("not an object")
    value, end = _DECODER.raw_decode(text)
    if end != len(text):
        raise ValueError("something follows the object")
    if b"\\" in data:
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair cannot be encoded: UnicodeEncodeError
    read: dict[str, Any] = value
    return read


def _depth(data: bytes) -> int:
    depth = deepest = 0
    for byte in _TEXTS.sub(b"", data).translate(None, _NO_BRACKETS):
        depth += 1 if byte in b"{[" else -1
        deepest = max(deepest, depth)
    return deepest


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name occurs twice")
    return value


def _finite(text: str) -> float:
    if not isfinite(number := float(text)):
        raise ValueError("a number without an end")
    return number


def _no_number(text: str) -> NoReturn:
    raise ValueError("not a number")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_once, parse_float=_finite, parse_constant=_no_number)
