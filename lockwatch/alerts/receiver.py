"""The other end: for applications that receive alerts."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from lockwatch.alerts.signing import TOLERANCE, Headers, read_key, verify
from lockwatch.errors import InvalidWebhook


def verify_webhook(
    secrets: str | bytes | Sequence[str | bytes],
    headers: Headers,
    body: bytes | str,
    *,
    now: float | None = None,
    tolerance: float = TOLERANCE,
) -> dict[str, Any]:
    """Check the signature of a webhook and return its content, for those who receive alerts.

    Args:
        secrets: one or several, ``whsec_...`` or, of an asymmetric sender, ``whpk_...``. While one is replaced, give both.
        headers: of the request: anything with `items()`; names in any case.
        body: the raw body of the request.
        now: seconds since 1970; None asks the clock.
        tolerance: seconds by which the clocks may differ, and for which a copy of the request is believed: remember the
            ``webhook-id`` for that long and drop what comes twice.

    Raises: InvalidWebhook; ConfigurationError, when a secret is none.
    """
    listed = [secrets] if isinstance(secrets, str | bytes) else list(secrets)
    keys = [read_key(secret, signs=False) for secret in listed]
    raw = body.encode() if isinstance(body, str) else body
    verify(keys, headers, raw, time.time() if now is None else now, tolerance)
    try:
        content = json.loads(raw)
    except ValueError:
        raise InvalidWebhook("the body of the webhook is no JSON") from None
    if not isinstance(content, dict):
        raise InvalidWebhook("the body of the webhook is no JSON object")
    return content
