"""An OpenAPI document of a Flask application: paths from its URL map, bodies as told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from flask import Flask

TEXT = {"type": "string"}
KINDS = {"uuid": {"type": "string", "format": "uuid"}, "int": {"type": "integer", "minimum": 0}}
_PARAMETER = re.compile(r"<(?:(\w+)(?:\([^)]*\))?:)?(\w+)>")


def document(app: Flask, bodies: Mapping[str, Mapping[str, int]], queries: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """OpenAPI 3.0.

    Args:
        bodies: by endpoint, the texts of its JSON object and how long they may be.
        queries: by endpoint, the names in its query string.
    """
    paths: dict[str, dict[str, Any]] = {}
    for rule in app.url_map.iter_rules():
        parameters = [
            {"name": name, "in": "path", "required": True, "schema": KINDS.get(kind, TEXT)}
            for kind, name in _PARAMETER.findall(rule.rule)
        ]
        parameters += [{"name": name, "in": "query", "schema": TEXT} for name in queries.get(rule.endpoint, ())]
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            operation: dict[str, Any] = {"parameters": parameters, "responses": {"default": {"description": "any"}}}
            if rule.endpoint in bodies:
                schema = _object(bodies[rule.endpoint])
                operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
            paths.setdefault(_PARAMETER.sub(r"{\2}", rule.rule), {})[method.lower()] = operation
    return {"openapi": "3.0.3", "info": {"title": app.name, "version": "1"}, "paths": paths}


def _object(texts: Mapping[str, int]) -> dict[str, Any]:
    properties = {name: {"type": "string", "minLength": 1, "maxLength": most} for name, most in texts.items()}
    return {"type": "object", "required": list(texts), "properties": properties}
