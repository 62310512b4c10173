"""Alerts as messages for Slack, and for what takes the same. Pure.

Texts that came from clients stand in plain_text only, with Slack's three control characters escaped, so that nothing in them is a
link, a mention or markup.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from lockwatch.alerts import alert as names
from lockwatch.alerts.body import clean

TITLES: Final[Mapping[str, str]] = {
    names.ATTACK_DETECTED: "Attack detected",
    names.ATTACK_UPDATED: "Attack goes on",
    names.ATTACK_RESOLVED: "Attack is over",
    names.BURST: "Burst of requests from one address",
    names.BAN_CREATED: "Banned",
    names.BAN_EXPIRED: "Ban ended",
    names.BAN_REMOVED: "Ban lifted",
    names.TOKEN_REUSE: "A used refresh token came again",
    names.AUDIT_DEGRADED: "The audit log is degraded",
    names.AUDIT_RECOVERED: "The audit log is complete again",
    names.DIGEST: "More alerts than are sent one by one",
    names.TEST: "Test",
}
_FIELDS: Final = 10
_VALUE: Final = 300
_ESCAPES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def render(content: Mapping[str, Any]) -> bytes:
    """The message for the body of a webhook, as `lockwatch.alerts.body.render` wrote it."""
    title = TITLES.get(content["type"], "Alert")
    fields = [_plain(f"{key}: {_shown(value)}") for key, value in content["data"].items() if value is not None][:_FIELDS]
    blocks: list[dict[str, Any]] = [{"type": "header", "text": _plain(f"lockwatch: {title}")}]
    if fields:
        blocks.append({"type": "section", "fields": fields})
    blocks.append({"type": "context", "elements": [_plain(f"{content['type']} at {content['timestamp']}")]})
    message = {"text": f"lockwatch: {title}", "blocks": blocks, "unfurl_links": False, "unfurl_media": False}
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()


def escaped(text: str) -> str:
    """A text in which Slack finds no control sequence (``<!channel>``, ``<https://...>``)."""
    return text.translate(_ESCAPES)


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": escaped(text), "emoji": False}


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return clean(text, _VALUE)
