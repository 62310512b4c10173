"""Threads, locks and forks of the operating system, also where gevent has put its own in their place. Standard library only.

An event loop in a green thread would be everybody's running loop: each `async def` view would fail.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final, Protocol

_SETTLED: Final = 5.0
"""Seconds in which a new thread has imported what it begins with."""


class Forkable(Protocol):
    """Something with connections, threads or locks, which a forked child must not go on with."""

    pid: int
    """The process it was made in, or begun anew."""

    def forked(self) -> None:
        """Begin anew in this process."""


def lock() -> Any:
    """A lock that works between native threads."""
    return _original("_thread", "allocate_lock")()


def ident() -> int:
    """Which native thread this is."""
    found: int = _original("_thread", "get_ident")()
    return found


def start(target: Callable[[], None], name: str) -> None:
    """Run `target` in a daemon thread."""
    if patched():
        _start_beside_gevent(target)
    else:
        threading.Thread(target=target, name=name, daemon=True).start()


def _start_beside_gevent(target: Callable[[], None]) -> None:
    """Start a thread that may import: gevent's locks, those of imports among them, let native threads wait for each other only
    where each has a hub, and the hub something to wait for. Without it both may stop for good.
    """
    hub, up = _hub(), lock()
    hub.loop.timer(_SETTLED).start(_nothing)
    up.acquire()
    _original("_thread", "start_new_thread")(_with_hub, (target, up))
    up.acquire(timeout=_SETTLED)


def _with_hub(target: Callable[[], None], up: Any) -> None:
    try:
        beat = _hub().loop.timer(1.0, 1.0)
        beat.start(_nothing)
    finally:
        up.release()
    try:
        target()
    finally:
        beat.close()


def _hub() -> Any:
    return import_module("gevent").get_hub()


def _nothing() -> None:
    """What a hub waits for that is to wait."""


def tell_of_forks(thing: Forkable) -> None:
    """Have `thing` begin anew in every child."""
    _forkable.add(thing)


def at_home(thing: Forkable) -> None:
    """The same, where forks are not announced: uWSGI's are not."""
    if thing.pid != os.getpid():
        with _births:
            if thing.pid != os.getpid():
                thing.forked()


def _forked() -> None:
    for thing in list(_forkable):
        thing.forked()


def obstacle() -> str:
    """Why no thread can run beside the requests of this process; empty when one can."""
    uwsgi = sys.modules.get("uwsgi")
    if uwsgi is not None and not {_text(key) for key in getattr(uwsgi, "opt", {})} & {"enable-threads", "threads"}:
        return "uWSGI runs without threads; start it with --enable-threads"
    patcher = sys.modules.get("eventlet.patcher")
    if patcher is not None and patcher.is_monkey_patched("thread"):
        return "eventlet has replaced threads, and an event loop cannot run in its own"
    return ""


def patched() -> bool:
    """Whether gevent has replaced threads."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def _original(module: str, name: str) -> Any:
    monkey = sys.modules.get("gevent.monkey")
    return getattr(import_module(module), name) if monkey is None else monkey.get_original(module, name)


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


_births = lock()
_forkable: weakref.WeakSet[Forkable] = weakref.WeakSet()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
