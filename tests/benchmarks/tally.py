"""Counts of what a thread allocates, by stage of a request: `tally.c`, compiled when it is asked for and kept nowhere."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final, NamedTuple, TypeAlias

STAGES: Final = 16
_SOURCE: Final = Path(__file__).with_name("tally.c")


class Spent(NamedTuple):
    """What was spent: allocations, bytes asked for, nanoseconds, frames entered."""

    allocations: int
    bytes: int
    ns: int
    frames: int


class Tally:
    """The counters of this process. There is one; `installed` makes it.

    Counted is each block that is asked of the allocators of objects and memory by the thread that reads. What Python keeps in free
    lists (floats, small tuples, lists, dictionaries) is used again without being asked for, and not counted.
    """

    def __init__(self, library: Any) -> None:
        self._library = library
        self._pair = (ctypes.c_uint64 * 2)()
        self._known: list[CodeType] = []

    def read(self) -> tuple[int, int]:
        """Allocations of this thread so far, and bytes."""
        self._library.tally_read(self._pair)
        return self._pair[0], self._pair[1]

    def learn(self, codes: Iterable[tuple[CodeType, int]]) -> None:
        """On whose account what a function does is: a number below 16, or -1 for whoever calls it."""
        for code, stage in codes:
            self._known.append(code)  # so that no other code gets its address
            self._library.tally_stage(ctypes.c_void_p(id(code)), stage)

    def begin(self, outermost: int) -> None:
        """Count by stage from here on; what no function is known of belongs to `outermost`."""
        self._library.tally_begin(outermost)

    def overhead(self) -> float:
        """Nanoseconds that counting adds to each frame."""

        def empty() -> None:
            pass

        def calls(profiled: bool) -> int:
            began = time.thread_time_ns()
            if profiled:
                self.begin(0)
            for _ in range(1000):
                empty()
            return sum(row.ns for row in self.end()) if profiled else time.thread_time_ns() - began

        return max(0.0, min(calls(True) for _ in range(20)) - min(calls(False) for _ in range(20))) / 1000

    def end(self) -> list[Spent]:
        """What each stage has spent since."""
        found = (ctypes.c_uint64 * 4 * STAGES)()
        self._library.tally_end(found)
        return [Spent(*row) for row in found]


def installed() -> Tally | None:
    """Begin to count; None where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or sys.platform == "win32":
        return None
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "tally.so"
        loose = ("-undefined", "dynamic_lookup") if sys.platform == "darwin" else ()
        subprocess.run([compiler, "-O2", "-shared", "-fPIC", *loose, "-o", target, _SOURCE], check=True)
        library = ctypes.PyDLL(str(target))
    library.tally_install()
    return Tally(library)


class Codes:
    """The functions that run while it is in force, as code objects. Two of these may be equal and in different files."""

    def __init__(self) -> None:
        self._seen: dict[int, CodeType] = {}

    @property
    def seen(self) -> list[CodeType]:
        """All of them."""
        return list(self._seen.values())

    def __enter__(self) -> Codes:
        sys.setprofile(self._entered)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _entered(self, frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            self._seen[id(frame.f_code)] = frame.f_code


Stages: TypeAlias = Sequence[tuple[str, tuple[str, ...]]]


def staged(codes: Iterable[CodeType], stages: Stages, ours: Path, waiting: int) -> list[tuple[CodeType, int]]:
    """The stage of each function, by where it is.

    Args:
        codes: functions.
        stages: name of each stage, and paths in `ours` that belong to it, maybe with a class: ``fastapi/entrance.py:Doorman``. The
            first is that of applications and frameworks, the last that of all paths that are not named.
        ours: the folder of lockwatch.
        waiting: the stage of an event loop that has nothing to do. Other libraries belong to who calls them.
    """
    paths = [(path, number) for number, (_, listed) in enumerate(stages) for path in listed]
    return [(code, _stage(code, paths, len(stages) - 1, ours, waiting)) for code in codes]


def _stage(code: CodeType, paths: Sequence[tuple[str, int]], other: int, ours: Path, waiting: int) -> int:
    file = Path(code.co_filename)
    if file.is_relative_to(ours):
        place = f"{file.relative_to(ours).as_posix()}:{code.co_qualname}"
        return max([(len(path), number) for path, number in paths if place.startswith(path)], default=(0, other))[1]
    if file.name == "selectors.py":
        return waiting
    return 0 if {"starlette", "fastapi", "benchmarks"} & set(file.parts) else -1
