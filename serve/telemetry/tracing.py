"""OpenTelemetry traces, and the context of a call that one process sends the next.

FastAPI makes the span of an HTTP request, in its client's trace; this module makes the spans of
jobs and stages. Nothing is recorded without a collector.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from serve.messages import CallContext
from serve.settings import Settings
from serve.telemetry.log import ID_NAMES, adopt_context, current_context, log_context

TRACEPARENT: Final = "traceparent"
_NAME: Final = "cascade"
_tracer = trace.get_tracer(_NAME)  # uses the provider that is set later


def configure_tracing(settings: Settings, process: str) -> None:
    """Send this process's spans to the collector, if one is set; later calls do nothing.

    Args:
        settings: ``otlp_endpoint`` is the collector's base URL (OTLP over HTTP). The standard
            ``OTEL_*`` variables choose the rest, such as sampling and headers.
        process: name of the process, for ``service.name``.
    """
    if not settings.otlp_endpoint:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    if isinstance(trace.get_tracer_provider(), TracerProvider):
        return
    provider = TracerProvider(resource=Resource.create({"service.name": f"cascade-{process}"}))
    exporter = OTLPSpanExporter(endpoint=f"{settings.otlp_endpoint.rstrip('/')}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)


@contextmanager
def span(name: str, **attributes: str | float) -> Iterator[trace.Span]:
    """Make the block a span of the current trace; an error marks it as failed."""
    named = {f"{_NAME}.{key}": value for key, value in attributes.items()}
    with _tracer.start_as_current_span(name, attributes=named) as opened:
        yield opened


@contextmanager
def replica_span(name: str, context: CallContext) -> Iterator[trace.Span]:
    """Open a span of another process's call, in a task that serves only this call.

    All records that the task logs from now on hold the call's ids. The ids are not reset at the
    end: a closed asynchronous generator may end in another context than it began in.
    """
    adopt_context(_ids(context))
    opened = _tracer.start_span(name, _parent(context))
    try:
        yield opened
    except Exception as error:
        opened.record_exception(error)
        opened.set_status(trace.StatusCode.ERROR)
        raise
    finally:
        opened.end()


def pack_context() -> CallContext:
    """Return the context of the current call, for another process."""
    carrier: CallContext = {}
    TraceContextTextMapPropagator().inject(carrier)
    found = {TRACEPARENT: carrier[TRACEPARENT]} if TRACEPARENT in carrier else {}
    return current_context() | found


@contextmanager
def unpacked_context(context: CallContext) -> Iterator[None]:
    """Continue another process's call in the block; a current trace is kept."""
    parent = None if trace.get_current_span().get_span_context().is_valid else _parent(context)
    token = None if parent is None else otel_context.attach(parent)
    try:
        with log_context(**_ids(context)):
            yield
    finally:
        if token is not None:
            otel_context.detach(token)


def trace_id() -> str:
    """Return the id of the current trace, as logs and tracing tools show it; empty without one."""
    found = trace.get_current_span().get_span_context()
    return trace.format_trace_id(found.trace_id) if found.is_valid else ""


def _ids(context: CallContext) -> dict[str, str]:
    return {name: context[name] for name in ID_NAMES if name in context}


def _parent(context: CallContext) -> otel_context.Context:
    return TraceContextTextMapPropagator().extract(context)
