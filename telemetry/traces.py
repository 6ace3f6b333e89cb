"""Spans for OpenTelemetry where they are asked for; elsewhere nothing is imported or done.

A span is known by its `traceparent` (W3C Trace Context), which is all that a job keeps of it: the
worker's spans have the span of the request that submitted the job for a parent.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from telemetry import context

Kind = Literal["INTERNAL", "SERVER", "CONSUMER"]
Attributes = Mapping[str, str | int | float | bool | None]

_NONE: Attributes = MappingProxyType({})

_TRACEPARENT = re.compile(r"^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$", re.ASCII)


class TracesError(Exception):
    """Traces are asked for, and cannot be made."""


def valid(traceparent: str | None) -> str | None:
    """What a client or a row has given, where it is a traceparent."""
    return traceparent if traceparent and _TRACEPARENT.fullmatch(traceparent) else None


@dataclass(frozen=True)
class Span:
    """Something that takes time; `made` is OpenTelemetry's own, none where traces are off."""

    made: Any
    traceparent: str | None

    @property
    def trace_id(self) -> str | None:
        """What all spans of a trace have in common, in hexadecimal."""
        return self.traceparent and self.traceparent.split("-")[1]

    def rename(self, name: str) -> None:
        """Gives it the name that is known by now."""
        if self.made is not None:
            self.made.update_name(name)

    def note(self, attributes: Attributes) -> None:
        """Adds attributes, those that are known."""
        if self.made is not None:
            self.made.set_attributes(_given(attributes))

    def fail(self, why: str) -> None:
        """Says that it went wrong."""
        if self.made is not None:
            from opentelemetry.trace import StatusCode  # noqa: PLC0415 - only where it is asked for

            self.made.set_status(StatusCode.ERROR, why)

    def end(self) -> None:
        """It is over."""
        if self.made is not None:
            self.made.end()


_provider: Any = None
_current: ContextVar[Span | None] = ContextVar("span", default=None)


def start(service: str, endpoint: str | None, *, exporter: Any = None) -> None:
    """Sends spans from now on to a collector, by OTLP over HTTP; does nothing without one.

    What OpenTelemetry itself reads of the environment holds too, such as OTEL_SERVICE_NAME,
    OTEL_TRACES_SAMPLER and OTEL_EXPORTER_OTLP_HEADERS. `exporter` takes the collector's place.

    Raises:
        TracesError: the packages are not installed.
    """
    global _provider  # noqa: PLW0603 - of the process, as its loggers are
    if endpoint is None and exporter is None:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - only where it is asked for
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - as above
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - as above
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - as above
    except ImportError as error:
        raise TracesError(
            f"STEPSIZE_OTLP_ENDPOINT asks for traces, which take more packages ({error}): pip"
            " install 'stepsize[otel]', or unset it and OTEL_EXPORTER_OTLP_ENDPOINT"
        ) from error
    stop()
    if exporter is None:
        exporter = OTLPSpanExporter(endpoint=f"{str(endpoint).rstrip('/')}/v1/traces")
    named = Resource.create()
    if str(named.attributes["service.name"]).startswith("unknown_service"):  # OTEL_SERVICE_NAME
        named = named.merge(Resource({"service.name": service}))
    provider = TracerProvider(resource=named, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    _provider = provider


def stop() -> None:
    """Sends what is left, and makes no more."""
    global _provider  # noqa: PLW0603 - as above
    if _provider is not None:
        _provider.shutdown()
        _provider = None


def begin(
    name: str,
    *,
    parent: str | None = None,
    kind: Kind = "INTERNAL",
    at: int | None = None,
    attributes: Attributes = _NONE,
) -> Span:
    """A span whose `end` is to be called; `at` is when it began, in nanoseconds since 1970.

    Without traces it has its parent's `traceparent`, so that what is given to a job is passed on.
    """
    parent = valid(parent)
    if _provider is None:
        return Span(None, parent)
    from opentelemetry.trace import SpanKind  # noqa: PLC0415 - only where it is asked for
    from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415 - as above
        TraceContextTextMapPropagator as Propagator,
    )

    made = _provider.get_tracer("stepsize").start_span(
        name,
        Propagator().extract({"traceparent": parent} if parent else {}),
        kind=SpanKind[kind],
        attributes=_given(attributes),
        start_time=at,
    )
    found = made.get_span_context()
    own = f"00-{found.trace_id:032x}-{found.span_id:016x}-{found.trace_flags:02x}"
    return Span(made, own)


@contextmanager
def within(span: Span) -> Iterator[Span]:
    """Makes a span the parent of those of the block; its records say which trace is theirs."""
    token = _current.set(span)
    try:
        with context.about(trace_id=span.trace_id):
            yield span
    finally:
        _current.reset(token)


@contextmanager
def span(
    name: str,
    *,
    parent: str | None = None,
    kind: Kind = "INTERNAL",
    attributes: Attributes = _NONE,
) -> Iterator[Span]:
    """A span that lasts as long as the block; without a parent, of the one that it is in."""
    if parent is None and (around := _current.get()) is not None:
        parent = around.traceparent
    made = begin(name, parent=parent, kind=kind, attributes=attributes)
    try:
        with within(made):
            yield made
    except BaseException as error:
        made.fail(type(error).__name__)
        raise
    finally:
        made.end()


def _given(attributes: Attributes) -> dict[str, str | int | float | bool]:
    return {name: value for name, value in attributes.items() if value is not None}
