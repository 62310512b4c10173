"""What the memory of a process is made of: on SIGUSR2 it writes a line.

The kernel counts pages. A page stays with a process while anything lives on it, so pages may become more when nothing accumulates:
threads have heaps of their own in glibc, each as large as it ever had to be. Blocks and objects of Python show what is really kept.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import resource
import signal
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any, Final

FOLDER: Final = "SOAK_MEMORY"
"""The environment variable that says where processes write."""


_FIELDS: Final = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")


class _Mallinfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in _FIELDS]


def install() -> None:
    """Write a line whenever SIGUSR2 comes."""
    signal.signal(signal.SIGUSR2, lambda *_: write(Path(os.environ[FOLDER])))


def write(folder: Path) -> None:
    """Append a line to the file of this process."""
    with (folder / f"{os.getpid()}.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(look()) + "\n")


def look() -> dict[str, Any]:
    """Bytes in memory before and after, blocks and objects of Python, bytes that the heaps of libc use and keep."""
    found: dict[str, Any] = {"resident": resident()}
    gc.collect()
    kinds = Counter(type(one).__name__ for one in gc.get_objects())
    found |= {"blocks": sys.getallocatedblocks(), "objects": kinds.total(), "kinds": dict(kinds.most_common(25))}
    found["threads"] = threading.active_count()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallinfo2"):
        libc.mallinfo2.restype = _Mallinfo
        heaps = libc.mallinfo2()
        found |= {"used": heaps.uordblks, "free": heaps.fordblks, "mapped": heaps.hblkhd}
        libc.malloc_trim(0)
    return found | {"trimmed": resident()}


def resident() -> int:
    """Bytes of this process in memory, as the kernel counts them."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def post_worker_init(_worker: object) -> None:
    """What gunicorn calls in each worker (``-c python:tests.stress.soak_memory``)."""
    install()
