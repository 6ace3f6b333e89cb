"""An HTTP server in a thread that webhooks lead to, and that answers as it is told."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """What came, and what is answered: a status, or whatever a function does with the socket."""

    port: int
    host: str = "127.0.0.1"
    status: int = 204
    location: str | None = None
    content: bytes = b""
    raw: Callable[[socket.socket], None] | None = None
    came: list[Received] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}/hook?a=1"

    @property
    def ids(self) -> list[str]:
        return [each.headers["webhook-id"] for each in self.came]


@contextlib.contextmanager
def receiving(host: str = "127.0.0.1") -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.came.append(Received(self.path, headers, body))
            if receiver.raw is not None:
                with contextlib.suppress(OSError):
                    receiver.raw(self.connection)
                return
            self.send_response(receiver.status)
            if receiver.location:
                self.send_header("location", receiver.location)
            if receiver.status != 204:
                self.send_header("content-length", str(len(receiver.content)))
            self.end_headers()
            self.wfile.write(receiver.content)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer((host, 0), Handler)
    server.daemon_threads = True
    receiver = Receiver(server.server_port, host)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
