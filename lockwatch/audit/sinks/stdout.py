"""Rows as JSON lines on standard output, for who collects that. A reader that does not read stops nothing but this."""

from __future__ import annotations

import asyncio
import os
import select
import sys
import time
from collections.abc import Callable, Sequence
from typing import IO, Final

from lockwatch.audit.formats import json_line
from lockwatch.audit.row import Row
from lockwatch.audit.sinks.standing import Standing

PIECE: Final = 4096
"""Bytes written at once: POSIX promises room for so many in a pipe that says it has room (PIPE_BUF)."""
PATIENCE: Final = 5.0
"""Seconds to wait for a reader."""


class Stdout:
    """JSON lines on standard output. What is not read in time is written again later, so a line may come twice; its id tells.

    Args:
        stream: somewhere else to write to.
        clock: seconds that only go forward.
    """

    name = "stdout:"

    def __init__(self, stream: IO[str] | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.standing = Standing(self.name, clock)
        self._stream = stream
        self._clock = clock
        self._rest = b""

    async def write(self, rows: Sequence[Row]) -> None:
        """Print all rows. Raises: SinkError."""
        self.standing.check()
        stream = self._stream or sys.stdout
        text = "".join(f"{json_line(row)}\n" for row in rows)
        try:
            if _selectable(stream):
                await self._print(stream, text)
            else:
                stream.write(text)
                stream.flush()
        except (OSError, ValueError) as error:
            raise self.standing.failed(str(error) or type(error).__name__) from error
        self.standing.worked()

    async def aclose(self) -> None:
        """Nothing to let go of: the stream is not ours."""

    async def _print(self, stream: IO[str], text: str) -> None:
        """Write piece by piece, each when there is room. A line that was begun is ended before what is new."""
        stream.flush()
        left, self._rest = self._rest + text.encode(), b""
        whole = True
        last = self._clock() + PATIENCE
        while left:
            if select.select([], [stream.fileno()], [], 0)[1]:
                done = os.write(stream.fileno(), left[:PIECE])
                whole, left = left[done - 1 : done] == b"\n", left[done:]
            elif self._clock() < last:
                await asyncio.sleep(0.01)
            else:
                self._rest = b"" if whole else left[: left.index(b"\n") + 1]
                raise TimeoutError("nobody reads it")


def _selectable(stream: IO[str]) -> bool:
    try:
        return stream.fileno() >= 0 and sys.platform != "win32" and hasattr(stream, "buffer")
    except (OSError, ValueError, AttributeError):
        return False
