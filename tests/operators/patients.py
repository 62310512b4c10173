"""Set-ups for the tests of `lockwatch doctor`, and what it says of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lockwatch.diagnosis.catalogue import CATALOGUE

ROOT = Path(__file__).parents[2]
STRONG = "kX2vN8qLr5tYw1zBc4mHs7dJf0gPaQeU"
PASSWORD = "hunter22-hunter22"
FASTAPI = """
import functools, os
from fastapi import Depends, FastAPI
from lockwatch import *
app = FastAPI(openapi_url=None)
lockwatch = LockWatch(app, {options})
@app.get("/", dependencies=[Depends(RateLimit("100/minute"))])
async def home(): return "home"
{more}
"""
FLASK = """
from flask import Flask
from lockwatch_flask import LockWatch
app = Flask(__name__, static_folder=None)
lockwatch = LockWatch(app, {options})
@app.get("/")
@lockwatch.limit("100/minute")
def home(): return "home"
{more}
"""
Told = dict[str, Any]
Check = Callable[..., Told]


def codes(told: Told) -> list[str]:
    return sorted(finding["code"] for finding in told["findings"])


def only(told: Told, code: str) -> dict[str, str]:
    """The one finding of a kind, which says everything it has to."""
    (found,) = [finding for finding in told["findings"] if finding["code"] == code]
    assert all(found[part] for part in ("what", "where", "change"))
    assert "\n" not in found["change"]
    assert found["severity"] == CATALOGUE[code].severity
    return found
