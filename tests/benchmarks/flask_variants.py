"""What `flask` measures: the applications of Flask, under gunicorn with threads."""

from __future__ import annotations

from functools import partial
from typing import Final

from tests.benchmarks.variants import Variant

BARE: Final = "bare Flask"
_variant: Final = partial(Variant, against=BARE)
_theirs: Final = partial(_variant, environment="flask-limiter", app="flask_with_flask_limiter")
_ours: Final = partial(_variant, environment="flask", app="flask_ours")

ALL: Final = (
    _variant(BARE, "flask", "flask_bare"),
    _ours("lockwatch, no limit", place="none"),
    _ours("lockwatch, one limit, memory"),
    _ours("lockwatch, one limit, Redis", redis=True),
    _ours("lockwatch, application_limits, memory", place="application"),
    _ours("lockwatch, application_limits, Redis", place="application", redis=True),
    _ours("lockwatch, everything, audit to SQLite, Redis", log="sqlite", shows=True, redis=True),
    _ours("lockwatch, everything, audit to PostgreSQL, Redis", log="postgres", shows=True, redis=True),
    _ours("lockwatch, Redis, all refused", limit="1/hour", refuses=True, redis=True),
    _theirs("Flask-Limiter, memory"),
    _theirs("Flask-Limiter, Redis", redis=True),
    _theirs("Flask-Limiter, Redis, all refused", limit="1/hour", refuses=True, redis=True),
    _variant("lockwatch 0.1.0, limit, Redis", "flask-lockwatch-0.1", "flask_seed", redis=True),
    _variant("lockwatch 0.1.0, limit and burst, Redis", "flask-lockwatch-0.1", "flask_seed", place="burst", redis=True),
)
