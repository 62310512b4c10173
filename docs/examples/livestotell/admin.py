"""What only administrators may do."""

import json
from collections.abc import Iterator
from dataclasses import replace

from flask import Blueprint, Response, abort, request
from flask.typing import ResponseReturnValue

from lockwatch import AuditLogger, AuditQuery
from lockwatch_flask import current_claims

from .protection import administrator, lockwatch

COLUMNS = ("id", "kind", "action", "outcome", "user_id", "actor", "target", "ip", "method", "endpoint", "status_code", "count")
PAGE = 500

admin = Blueprint("admin", __name__, url_prefix="/admin")
administrator(admin)


@admin.get("/audit.jsonl")
def export() -> ResponseReturnValue:
    """The audit log, newest rows first, a JSON object on each line. Who asked for it is in the log as well."""
    user = request.args.get("user")
    try:
        question = AuditQuery(user_id=user, limit=PAGE)
    except ValueError as error:
        abort(400, str(error))
    lockwatch.audit.record_sync(action="audit.exported", actor=current_claims.subject, details={"user": user})
    lockwatch.audit.flush_sync()
    # The log of this application is taken here: what streams runs when the application's context has ended.
    return Response(_lines(lockwatch.audit, question), mimetype="application/x-ndjson")


def _lines(audit: AuditLogger, question: AuditQuery) -> Iterator[str]:
    while page := audit.query_sync(question):
        for row in page:
            yield json.dumps({"timestamp": row.timestamp.isoformat(), **{name: getattr(row, name) for name in COLUMNS}}) + "\n"
        question = replace(question, cursor=page[-1].cursor)
