"""Documents 401, 403, 429 and 503 on every route that can answer them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from lockwatch.fastapi.guard import Guard
from lockwatch.fastapi.plan import walk
from lockwatch.limits.declaration import Declaration
from lockwatch.tokens.requirement import Access

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
_REFUSED: Final = {
    "type": "object",
    "required": ["type", "title", "status", "error"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "error": {"type": "string"},
        "scope": {"type": "string"},
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
    if plan.access:
        _describe_access(operation, plan.access)
    if guard.doorkeeper is not None:
        content = {"application/problem+json": {"schema": _REFUSED}}
        said = {"description": "The client is banned, or not allowed to do this", "content": content}
        operation.setdefault("responses", {}).setdefault("403", said)
    if not plan.steps:
        return
    responses = operation.setdefault("responses", {})
    responses.setdefault("429", _response("A quota is exhausted", guard, [step.declaration for step in plan.steps]))
    if any((step.declaration.on_store_error or plan.on_store_error) == "deny" for step in plan.steps):
        responses.setdefault("503", {**_response("Limits cannot be checked now", guard, []), "headers": {"Retry-After": _SECONDS}})


def _describe_access(operation: dict[str, Any], access: Sequence[Access]) -> None:
    """The token a route requires: FastAPI has put the scheme there, but knows of no scopes that stand in `JWTAuth`."""
    scopes = list(dict.fromkeys([scope for _, demands in access for scope in demands.scopes]))
    schemes = {getattr(requirement, "scheme_name", None) for requirement, _ in access}
    for entry in operation.get("security", []):
        for scheme in entry.keys() & schemes:
            entry[scheme] = list(dict.fromkeys([*entry[scheme], *scopes]))
    if all(requirement.optional for requirement, _ in access):
        operation.setdefault("security", []).append({})
    responses = operation.setdefault("responses", {})
    challenge = {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "What is wrong, as RFC 6750 has it"}}
    content = {"application/problem+json": {"schema": _REFUSED}}
    responses.setdefault("401", {"description": "No token, or none that is good", "headers": challenge, "content": content})
    if scopes or any(demands.roles for _, demands in access):
        said = f"The token does not reach for this ({' '.join(scopes)})" if scopes else "The token does not reach for this"
        responses.setdefault("403", {"description": said, "headers": challenge, "content": content})
    responses.setdefault(
        "503", {"description": "Tokens cannot be checked now", "headers": {"Retry-After": _SECONDS}, "content": content}
    )


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
