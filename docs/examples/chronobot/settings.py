"""Where Chronobot keeps things, and how it is protected."""

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from lockwatch import AnomalyConfig, LockWatchConfig

ATTACKS = AnomalyConfig(
    burst_threshold=100,
    burst_window_seconds=10,
    respond="ban",
    # A client of an API has no pictures to load, so a burst is nothing innocent here.
    ban_rules="burst.address, failures.address, stuffing.address, enumeration.address, scan.address",
    ban_seconds=600,
)


def data_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Where files are, made for its owner alone."""
    place = Path(environ.get("CHRONOBOT_DATA", "chronobot-data"))
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    return place


def settings(place: Path, environ: Mapping[str, str] = os.environ) -> LockWatchConfig:
    """What the environment says; without it, everything works on this machine alone."""
    defaults = {
        "LOCKWATCH_NAMESPACE": "chronobot",
        "LOCKWATCH_DATABASE_URL": f"sqlite+aiosqlite:///{place.resolve()}/audit.db",
        "LOCKWATCH_JWT_SECRET_FILE": str(secret_file(place / "jwt-secret")),
        "LOCKWATCH_SPOOL_DIR": str(place / "spool"),
    }
    return LockWatchConfig.from_env({**defaults, **environ})


def secret_file(path: Path) -> Path:
    """A file with a secret of its own, made at the first start."""
    with NamedTemporaryFile("w", dir=path.parent) as file:
        file.write(secrets.token_urlsafe(48))
        file.flush()
        # Linked as a whole: of several workers that start at once, all read what the first one wrote.
        with suppress(FileExistsError):
            os.link(file.name, path)
    return path
