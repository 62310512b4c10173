"""The directory of the spools: looked at, not made."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lockwatch.diagnosis.finding import Area, Finding, counted
from lockwatch.diagnosis.patient import Patient
from lockwatch.spool.directory import NETWORK, Directory, directory_at, file_system

_LEAST: Final = 64 * 2**20
"""Bytes without which there is no room for anything."""
_MEGABYTE: Final = 2**20
_OWN: Final = "spool_dir='/var/lib/lockwatch', owned by the user the application runs as"


def spool(patient: Patient) -> Area:
    """Where that is kept which has to outlive a process."""
    config = patient.config
    directory = directory_at(config.spool_dir, config.namespace)
    if directory is None:
        what = "spool_dir is none: what a killed process had not delivered is lost"
        return Area("spool", "none", (Finding("spool.none", what, "spool_dir", 'spool_dir="auto"'),))
    free = shutil.disk_usage(_there(directory.path)).free
    told = f"{directory.path}, {free // _MEGABYTE:,} MB free"
    found = [
        *_usable(directory.path),
        *on_network(directory.path, file_system(_there(directory.path))),
        *_lasting(directory.path),
        *room(patient, directory.path, free),
        *_left(directory),
    ]
    return Area("spool", told, tuple(found))


def _there(path: Path) -> Path:
    """The path, or the nearest above it that exists."""
    return next(one for one in (path, *path.parents) if one.exists())


def _usable(path: Path) -> Iterator[Finding]:
    try:
        found = path.lstat()
    except FileNotFoundError:
        if not os.access(_there(path), os.W_OK | os.X_OK):
            what = f"it cannot be made: {_there(path)} may not be written to"
            yield Finding("spool.mode", what, str(path), _OWN)
        return
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        what = "it is a link, no directory, or another user's"
        yield Finding("spool.mode", what, str(path), _OWN)
    elif stat.S_IMODE(found.st_mode) & 0o077:
        what = f"others may look into it (mode {stat.S_IMODE(found.st_mode):04o})"
        yield Finding("spool.mode", what, str(path), f"chmod 700 {path}")


def on_network(path: Path, kind: str) -> Iterator[Finding]:
    """Whether a file system of this kind is one that several machines share."""
    if kind in NETWORK:
        what = f"it is on a network file system ({kind}), where SQLite cannot share memory between processes"
        yield Finding("spool.network", what, str(path), "spool_dir='/var/lib/lockwatch'")


def _lasting(path: Path) -> Iterator[Finding]:
    temporary = Path(tempfile.gettempdir()).resolve()
    if temporary in path.resolve().parents:
        what = "it is in the directory for temporary files, which a restart of the machine may empty"
        yield Finding("spool.temporary", what, str(path), "spool_dir='/var/lib/lockwatch'")


def room(patient: Patient, path: Path, free: int) -> Iterator[Finding]:
    """Whether what may have to be kept fits into so many bytes."""
    wanted = patient.config.audit_spool_megabytes * _MEGABYTE * patient.config.processes if patient.config.has_audit else 0
    if free < max(_LEAST, min(wanted, 4 * _LEAST)):
        what = f"{free // _MEGABYTE:,} MB are free, and {patient.config.processes} processes may keep {wanted // _MEGABYTE:,} MB"
        yield Finding("spool.full", what, str(path), f"audit_spool_megabytes={max(1, free // _MEGABYTE // 4)}, or a larger disk")


def _left(directory: Directory) -> Iterator[Finding]:
    left = [name for name in directory.foreign() if "of another user" not in name]
    if left:
        what = f"{counted(len(left), 'spool')} of dead processes, of another namespace, like {left[0].partition(':')[0]}"
        yield Finding("spool.left", what, str(directory.path), "lockwatch audit drain --namespace NAME")
