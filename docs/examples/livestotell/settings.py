"""Where Livestotell keeps things, and how it is protected."""

import os
import secrets
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from lockwatch import AnomalyConfig


def data_directory() -> Path:
    """Where files are, made for its owner alone."""
    place = Path(os.environ.get("LIVESTOTELL_DATA", "livestotell-data")).resolve()
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    return place


def settings(place: Path) -> dict[str, Any]:
    """For `app.config`. What is not here, like `LOCKWATCH_REDIS_URL`, lockwatch takes from the environment itself."""
    environ = os.environ
    return {
        "LOCKWATCH_NAMESPACE": environ.get("LOCKWATCH_NAMESPACE", "livestotell"),
        "LOCKWATCH_AUDIT_DATABASE_URL": environ.get("LOCKWATCH_DATABASE_URL", f"sqlite+aiosqlite:///{place}/audit.db"),
        "LOCKWATCH_JWT_SECRET": environ.get("LOCKWATCH_JWT_SECRET") or kept_secret(place / "jwt-secret"),
        "LOCKWATCH_SPOOL_DIR": environ.get("LOCKWATCH_SPOOL_DIR", str(place / "spool")),
        "LOCKWATCH_APPLICATION_LIMITS": "600/minute",
        "LOCKWATCH_DEFAULT_LIMITS": "120/minute",
        "LOCKWATCH_AUTH_FAILURES": "60/minute",
        "LOCKWATCH_AUDIT_EXEMPT_PATHS": "/health",
        # Pages load in bursts, so bursts alone ban nobody: those who scan for holes or guess passwords are banned.
        "LOCKWATCH_ANOMALY": AnomalyConfig(burst_threshold=100, respond="ban", ban_seconds=600),
    }


def kept_secret(path: Path) -> str:
    """A secret that is made at the first start and kept in a file."""
    with NamedTemporaryFile("w", dir=path.parent) as file:
        file.write(secrets.token_urlsafe(48))
        file.flush()
        # Linked as a whole: of several workers that start at once, all read what the first one wrote.
        with suppress(FileExistsError):
            os.link(file.name, path)
    return path.read_text()
