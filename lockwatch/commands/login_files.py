"""Files of login events, of any size, in order of time: sorted in runs on disk where they do not fit into memory."""

from __future__ import annotations

import gzip
import io
import json
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from heapq import merge
from itertools import islice
from typing import IO, Final

from lockwatch.anomaly.login_lines import LoginLine, read_line
from lockwatch.commands.trouble import Unusable

AT_ONCE: Final = 100_000
"""Lines in memory."""
_GZIP: Final = b"\x1f\x8b"


def logins(path: str, say: Callable[[str], None], at_once: int = AT_ONCE) -> Iterator[LoginLine]:
    """The lines of a file, of standard input for ``-``, in order of time. A file may be compressed by gzip.

    Args:
        say: told how far it is, now and then.
        at_once: lines that are sorted in memory.

    Raises: Unusable, which names the file and the line.
    """
    try:
        with ExitStack() as held:
            yield from _sorted(_parsed(_opened(path, held)), held, say, at_once)
    except (OSError, EOFError, zlib.error) as error:
        raise Unusable(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    except ValueError as error:
        raise Unusable(f"{path}: {error}") from None


def _opened(path: str, held: ExitStack) -> IO[str]:
    raw = held.enter_context(open(sys.stdin.fileno() if path == "-" else path, "rb", closefd=path != "-"))  # noqa: SIM115
    plain = gzip.GzipFile(fileobj=raw) if raw.peek(2)[:2] == _GZIP else raw
    return held.enter_context(io.TextIOWrapper(plain, encoding="utf-8-sig", errors="replace"))


def _parsed(lines: Iterable[str]) -> Iterator[LoginLine]:
    return (read_line(number, line) for number, line in enumerate(lines, 1) if line.strip())


def _sorted(lines: Iterator[LoginLine], held: ExitStack, say: Callable[[str], None], at_once: int) -> Iterator[LoginLine]:
    runs: list[Iterator[LoginLine]] = []
    while chunk := sorted(islice(lines, at_once)):
        if len(chunk) < at_once and not runs:
            yield from chunk
            return
        file = held.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8"))  # noqa: SIM115
        runs.append(_run(file, chunk))
        say(f"{max(line.number for line in chunk):,} lines read")
    yield from merge(*runs)


def _run(file: IO[str], chunk: list[LoginLine]) -> Iterator[LoginLine]:
    """Lines in order of time, on disk."""
    for line in chunk:
        file.write(json.dumps(line) + "\n")
    file.seek(0)
    return (LoginLine(*json.loads(text)) for text in file)
