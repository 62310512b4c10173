"""A load generator that needs nothing, for machines without ``wrk``: keep-alive connections, one request at a time on each.

Being Python it can be the bottleneck itself; the column "server busy" of the table shows when it was.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class _Connection(asyncio.Protocol):
    """Sends a request, waits for the whole answer, sends the next."""

    def __init__(self, request: bytes, counts: dict[str, int]) -> None:
        self._request, self._counts, self._seen = request, counts, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        transport.write(self._request)  # type: ignore[attr-defined]  # a stream has it

    def data_received(self, data: bytes) -> None:
        self._seen += data
        head, end, body = self._seen.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not end or length is None or len(body) < int(length[1]):
            return
        self._counts[self._seen[9:12].decode()] = self._counts.get(self._seen[9:12].decode(), 0) + 1
        self._seen = b""
        self._transport.write(self._request)  # type: ignore[attr-defined]


async def run(port: int, path: str, seconds: float, connections: int, headers: list[str]) -> dict[str, float]:
    """Answers by status, and how long it took."""
    lines = "".join([f"{line}\r\n" for line in (f"Host: 127.0.0.1:{port}", *headers)])
    request = f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode()
    counts: dict[str, int] = {}
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(lambda: _Connection(request, counts), "127.0.0.1", port) for _ in range(connections)]
    began = time.perf_counter()
    await asyncio.sleep(seconds)
    took = time.perf_counter() - began
    for transport, _ in made:
        transport.abort()
    fine = counts.get("200", 0)
    return {"fine": fine, "refused": counts.get("429", 0), "total": sum(counts.values()), "seconds": took}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), sys.argv[5:]))))
