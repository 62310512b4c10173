"""Accounts and log-ins. Refreshing and logging out are views of lockwatch: see `app`."""

import re

from flask import Blueprint, abort, current_app, jsonify, request
from flask.typing import ResponseReturnValue

from lockwatch import by_json
from lockwatch_flask import current_claims

from .accounts import Accounts
from .body import text
from .protection import lockwatch, refresh_cookie, signed_in

sessions = Blueprint("sessions", __name__)


@sessions.post("/accounts")
@lockwatch.limit("10/hour")
def register() -> ResponseReturnValue:
    """Make an account."""
    name, password = text("username", 32), text("password", 128)
    if not re.fullmatch("[a-z0-9_-]+", name) or len(password) < 8:
        abort(422, "a name has lower-case letters, digits, '_' and '-'; a password has 8 characters or more")
    if not _accounts().add(name, password):
        abort(409, "somebody has that name")
    return {"username": name}, 201


@sessions.post("/login")
@lockwatch.limit("20/minute", count="failures")
@lockwatch.limit("5/minute", key=by_json("username"), count="failures")
def login() -> ResponseReturnValue:
    """Begin a session. The tokens go into cookies that no script can read."""
    name, password = text("username", 32), text("password", 128)
    with lockwatch.login_attempt(request, name):
        if not _accounts().check(name, password):
            abort(401, "wrong name or password")
    pair = lockwatch.tokens.issue_token_pair_sync(name, _accounts().claims(name))
    response = jsonify(username=name)
    lockwatch.set_access_cookies(response, pair)
    response.headers.add("Set-Cookie", refresh_cookie.keep(pair))
    return response


@sessions.get("/me")
@signed_in
def me() -> ResponseReturnValue:
    """Who asks."""
    return {"username": current_claims.subject, "roles": sorted(current_claims.roles)}


def _accounts() -> Accounts:
    accounts: Accounts = current_app.extensions["accounts"]
    return accounts
