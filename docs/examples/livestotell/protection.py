"""What the blueprints share: who may come in, and how often."""

from lockwatch import RefreshCookie, by_user
from lockwatch_flask import LockWatch

lockwatch = LockWatch()
refresh_cookie = RefreshCookie()

COOKIE_OR_HEADER = ("cookie", "header")
signed_in = lockwatch.jwt_required(locations=COOKIE_OR_HEADER)
administrator = lockwatch.jwt_required(locations=COOKIE_OR_HEADER, roles=["admin"])

# Stories and comments are written from one purse.
writing = lockwatch.shared_limit("10/minute; 60/hour", "writing", key=by_user)
