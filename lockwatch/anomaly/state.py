"""State of a detector as bytes: JSON, where bytes are hex with a mark, compressed. Nothing in it is run when it is read."""

from __future__ import annotations

import json
import zlib
from base64 import b64decode, b64encode
from typing import Any


def pack(state: Any) -> bytes:
    """Numbers, texts, bytes, lists of them."""
    return zlib.compress(json.dumps(state, default=_mark, separators=(",", ":")).encode(), 1)


def unpack(raw: bytes) -> Any:
    """What `pack` was given, lists for tuples. Raises: ValueError."""
    try:
        return json.loads(zlib.decompress(raw), object_hook=_read)
    except (zlib.error, KeyError) as error:
        raise ValueError(f"this is no state of a detector: {error}") from None


def _mark(value: Any) -> dict[str, str]:
    return {"b": b64encode(value).decode()}


def _read(marked: dict[str, str]) -> bytes:
    return b64decode(marked["b"])
