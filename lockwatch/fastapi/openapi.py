"""Documents 429 and 503 on every route that can answer them."""

from __future__ import annotations

from typing import Any, Final

from lockwatch.fastapi.guard import Guard
from lockwatch.fastapi.plan import walk
from lockwatch.limits.declaration import Declaration

_SECONDS: Final = {"schema": {"type": "integer", "minimum": 1}, "description": "Seconds to wait"}
_PROBLEM: Final = {
    "type": "object",
    "required": ["type", "title", "status", "violated-policies"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "violated-policies": {"type": "array", "items": {"type": "string"}},
        "error": {"type": "string"},
        "retry_after": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "decision": {"type": "string"},
    },
}


def document(app: Any, guard: Guard) -> None:
    """Make `app.openapi()` describe refusals; what a route documents itself stays."""
    inner = app.openapi

    def openapi() -> dict[str, Any]:
        fresh = app.openapi_schema is None
        schema: dict[str, Any] = inner()
        if fresh:
            for seen in walk(app.routes):
                for method in () if seen.prefix else seen.methods:
                    operation = schema.get("paths", {}).get(seen.path, {}).get(method.lower())
                    if operation is not None:
                        _describe(operation, guard, seen, method)
        return schema

    app.openapi = openapi


def _describe(operation: dict[str, Any], guard: Guard, seen: Any, method: str) -> None:
    plan = guard.plan(seen, {"type": "http", "method": method, "path": seen.path}, "", {})
    if not plan.steps:
        return
    responses = operation.setdefault("responses", {})
    responses.setdefault("429", _response("A quota is exhausted", guard, [step.declaration for step in plan.steps]))
    if any((step.declaration.on_store_error or plan.on_store_error) == "deny" for step in plan.steps):
        responses.setdefault("503", {**_response("Limits cannot be checked now", guard, []), "headers": {"Retry-After": _SECONDS}})


def _response(description: str, guard: Guard, declarations: list[Declaration]) -> dict[str, Any]:
    said = "; ".join([str(limit) for d in declarations for limit in d.limits])
    headers: dict[str, Any] = {"Retry-After": _SECONDS}
    dialect = guard.engine.config.headers
    if dialect in ("both", "draft-11"):
        headers |= {name: {"schema": {"type": "string"}} for name in ("RateLimit-Policy", "RateLimit")}
    if dialect in ("both", "x"):
        headers |= {f"X-RateLimit-{name}": {"schema": {"type": "integer"}} for name in ("Limit", "Remaining", "Reset")}
    return {
        "description": f"{description} ({said})" if said else description,
        "headers": headers,
        "content": {"application/problem+json": {"schema": _PROBLEM}},
    }
