"""Texts as every database and every reader can take them: no NUL, no half of a surrogate pair, no endless value. Pure.

What is changed is told in the `flags` of the row: ``cleaned:endpoint``, ``truncated:endpoint``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

LIMITS: Final[Mapping[str, int]] = {
    "kind": 16,
    "action": 128,
    "outcome": 32,
    "user_id": 256,
    "actor": 256,
    "session": 128,
    "target": 512,
    "tenant": 128,
    "ip": 64,
    "ip_source": 16,
    "peer_ip": 64,
    "method": 32,
    "route": 512,
    "endpoint": 2048,
    "query": 2048,
    "user_agent": 512,
    "request_id": 128,
    "trace_id": 64,
    "decision": 32,
    "campaign_id": 64,
}
"""Characters that are kept of each text."""
MOST_JSON: Final = 16_384
"""Characters that are kept of `details`."""
MOST_ITEMS: Final = 32
MOST_TEXT: Final = 512
_DEPTH: Final = 8
_BAD = re.compile("[\0\ud800-\udfff]")
_REPLACEMENT: Final = "\ufffd"
_JSON: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def clean(name: str, value: object, flags: list[str]) -> str | None:
    """The text of one column, bounded; what was done to it is added to `flags`. None for nothing."""
    if value is None:
        return None
    text, most = value if isinstance(value, str) else str(value), LIMITS[name]
    if len(text) > most:
        flags.append(f"truncated:{name}")
        text = text[:most]
    if text.isascii() and "\0" not in text:
        return text
    kept = _BAD.sub(_REPLACEMENT, text)
    if kept != text:
        flags.append(f"cleaned:{name}")
    return kept


def whole(name: str, value: object, flags: list[str]) -> int | None:
    """The number of one column, None for what it has no room for; that is added to `flags`."""
    bits = 31 if name == "status_code" else 63
    if value is None or (isinstance(value, int) and -(2**bits) <= value < 2**bits):
        return value
    flags.append(f"cleaned:{name}")
    return None


def digest(text: str) -> str:
    """SHA-256 of a whole text, in hexadecimal; of what was cut off too."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def listed(texts: tuple[str, ...] | list[str]) -> str | None:
    """A JSON list of texts, None for none."""
    return _JSON.encode([plain(text[:MOST_TEXT]) for text in texts[:MOST_ITEMS]]) if texts else None


def encoded(details: Mapping[str, Any], flags: list[str]) -> str | None:
    """A JSON object, None for an empty one. What is too long is left out, and told by size and SHA-256."""
    if not details:
        return None
    text = _JSON.encode(plain(details))
    if len(text) <= MOST_JSON:
        return text
    flags.append("truncated:details")
    return _JSON.encode({"truncated": len(text), "sha256": digest(text)})


def plain(value: Any, depth: int = 0) -> Any:
    """A value as JSON has it: what JSON does not know becomes its name, what is too deep or not a number too."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**63 else str(value)[:MOST_TEXT]
    if isinstance(value, float):
        return value if value - value == 0 else str(value)
    if isinstance(value, Mapping) and depth < _DEPTH:
        return {_text(key): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset) and depth < _DEPTH:
        return [plain(item, depth + 1) for item in value]
    return _text(value)


def _text(value: object) -> str:
    try:
        text = value if isinstance(value, str) else str(value)
    except Exception:  # a str() of the application's own
        text = type(value).__name__
    return _BAD.sub(_REPLACEMENT, text)
