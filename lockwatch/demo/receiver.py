"""A receiver of alerts on this machine: what the demo shows of webhooks has been sent, received and verified."""

from __future__ import annotations

import secrets
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from lockwatch.alerts.receiver import verify_webhook
from lockwatch.errors import InvalidWebhook


class Receiver:
    """Verifies what comes, and keeps it.

    Attributes:
        secret: what it has to be signed with.
        received: contents of the webhooks that were.
        refused: how many were not.
    """

    def __init__(self) -> None:
        self.secret = f"whsec_{b64encode(secrets.token_bytes(32)).decode()}"
        self.received: list[dict[str, Any]] = []
        self.refused = 0
        self.port = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/alerts"

    def take(self, headers: Any, body: bytes) -> int:
        """Verify a webhook; the status to answer with."""
        try:
            self.received.append(verify_webhook(self.secret, headers, body))
        except InvalidWebhook as error:
            self.refused += 1
            return error.status or 401
        return 204

    def wait_for(self, kind: str, seconds: float = 30.0, about: str = "") -> dict[str, Any] | None:
        """The first webhook of a type that mentions `about`, as soon as it is there."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            for content in list(self.received):
                if content["type"] == kind and about in str(content["data"]):
                    return content
            time.sleep(0.01)
        return None


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver that listens on a free loopback port while the block runs."""
    receiver = Receiver()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(receiver))
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="lockwatch-demo-receiver", daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler_of(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = min(int(self.headers.get("content-length") or 0), 65_536)
            self.send_response(receiver.take(self.headers, self.rfile.read(size)))
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Say nothing: the demo tells what came."""

    return Handler
