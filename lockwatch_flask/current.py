"""`current_claims`: what the token of the current request says."""

from __future__ import annotations

from typing import Any

from flask import g
from werkzeug.local import LocalProxy

from lockwatch.tokens.claims import Claims


def _claims() -> Claims | None:
    try:
        found: Claims | None = g.jwt_claims
    except AttributeError:
        raise LookupError("no token was checked for this request; put @lockwatch.jwt_required() on its view") from None
    return found


current_claims: Any = LocalProxy(_claims)
"""The claims of the token that the view requires; a proxy of None where it is optional and none came.

Raises: LookupError where no token was asked for; RuntimeError outside of a request.
"""
