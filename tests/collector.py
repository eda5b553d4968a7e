"""A collector of traces (OTLP over HTTP) that keeps what it gets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from threading import Thread

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass(frozen=True, slots=True)
class Collector:
    """Where it listens, and what it got: spans with the service that sent them."""

    url: str
    spans: Queue[tuple[str, Span]]


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector on a port of its own."""
    spans: Queue[tuple[str, Span]] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            is_known = self.path == "/v1/traces"
            for sent in (
                ExportTraceServiceRequest.FromString(body).resource_spans if is_known else ()
            ):
                (name,) = [a.value for a in sent.resource.attributes if a.key == "service.name"]
                for scope in sent.scope_spans:
                    for span in scope.spans:
                        spans.put((name.string_value, span))
            self.send_response(200 if is_known else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield Collector(f"http://127.0.0.1:{server.server_port}", spans)
        server.shutdown()
