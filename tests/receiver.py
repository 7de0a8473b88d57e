"""A real HTTP endpoint on this machine: keeps what it is sent, answers as it is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[BaseHTTPRequestHandler], None]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256  # with the default of 5 a busy machine resets connections


@dataclass
class Receiver:
    """What came: headers, body, path of each request; `answer` replies, 200 by default."""

    url: str
    port: int
    got: list[tuple[dict[str, str], bytes, str]] = field(default_factory=list)
    answer: Answer | None = None


def status(code: int, headers: dict[str, str] | None = None, body: bytes = b"") -> Answer:
    """An answer with a status."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on a free port of 127.0.0.1."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            there.got.append((dict(self.headers.items()), body, self.path))
            (there.answer or status(200, body=b"ok"))(self)

        def do_GET(self) -> None:
            there.got.append((dict(self.headers.items()), b"", self.path))
            status(200)(self)

        def log_message(self, *_: Any) -> None:
            return

    server = _Server(("127.0.0.1", 0), Handler)
    port = server.server_port
    there = Receiver(url=f"http://127.0.0.1:{port}/hook", port=port)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield there
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
