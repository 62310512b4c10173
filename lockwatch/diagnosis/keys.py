"""What tokens are signed with."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lockwatch.diagnosis.finding import Area, Finding
from lockwatch.diagnosis.patient import Patient
from lockwatch.errors import LockwatchError
from lockwatch.tokens import keyfile, rotation
from lockwatch.tokens.rotation import KeyFile

_OLD: Final = 365 * 86_400
_DAY: Final = 86_400


def keys(patient: Patient) -> Area:
    """The keys of our own tokens."""
    jwt = patient.config.jwt
    if patient.config.jwt_secret is not None or (jwt is not None and jwt.secrets):
        return Area("keys", "a secret; tokens are signed with HS256")
    if getattr(jwt, "rsa_private_key_pem", None) is not None:
        return Area("keys", "a private key, given as text")
    if getattr(jwt, "rsa_private_key_path", None) is None:
        what = "no key is set, so each process makes one of its own: no other process believes its tokens, and none outlives it"
        change = "lockwatch keys generate keys.json, and JWTConfig(rsa_private_key_path='keys.json')"
        return Area("keys", "none", (Finding("keys.temporary", what, "jwt", change),))
    path = keyfile.file_at(jwt.rsa_private_key_path)
    try:
        file = keyfile.read_file(path) if _is_ring(path) else None
    except (LockwatchError, OSError) as error:
        return Area("keys", str(path), (Finding("configuration.invalid", str(error), str(path), f"lockwatch keys list {path}"),))
    told = "a private key" if file is None else ", ".join(f"{e.kid} {e.state}" for e in file.entries)
    found = (*_modes(path), *(() if file is None else judged(file, str(path), time.time())))
    return Area("keys", f"{path}: {told}", found)


def judged(file: KeyFile, path: str, now: float) -> Iterator[Finding]:
    """What is wrong with a key file at the epoch time `now`. Pure."""
    for entry in file.entries:
        if entry.state == "current" and now - entry.since > _OLD:
            what = f"the key {entry.kid} has signed for {int((now - entry.since) / _DAY)} days"
            yield Finding("keys.old", what, path, f"lockwatch keys generate {path}, and lockwatch keys rotate {path} later")
        if entry.state == "retiring" and now > rotation.retirement(file, entry):
            what = f"no token that the key {entry.kid} signed is alive any more"
            yield Finding("keys.retire", what, path, f"lockwatch keys retire {path} -- {entry.kid}")


def _is_ring(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(1) == b"{"


def _modes(path: Path) -> Iterator[Finding]:
    found = path.stat()
    if os.name == "posix" and stat.S_IMODE(found.st_mode) & 0o077:
        yield Finding("keys.mode", f"others may read it (mode {stat.S_IMODE(found.st_mode):04o})", str(path), f"chmod 600 {path}")
