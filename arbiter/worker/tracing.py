"""Traces of the worker's own work, sent with OpenTelemetry: an extra, needed only if ``ARBITER_TRACING`` is on.

A batch is one span with the stages as its children, and links to the traces of the requests in it. Where spans go, and
how many are sampled, OpenTelemetry's own variables say (``OTEL_EXPORTER_OTLP_ENDPOINT``, ``OTEL_TRACES_SAMPLER`` …).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any, Final

from arbiter import __version__
from arbiter.messages.traces import SPAN_ID_END, TRACE_ID_BYTES

LINKS_MAX: Final = 128
"""How many links a span keeps; OpenTelemetry's default."""

STOP_SECONDS_MAX: Final = 2.0

MISSING: Final = (
    "ARBITER_TRACING is on, but OpenTelemetry is not installed: install `arbiter[otel]`, or set ARBITER_TRACING=false"
)


class TracingMissing(Exception):
    """The optional packages are not there; the text says what to do."""


class Tracing:
    """One worker's spans. Nothing waits for their delivery: if the collector is away, they are dropped."""

    def __init__(self, worker: str, exporter: Any = None) -> None:
        """``worker`` names the process. :class:`TracingMissing`; an ``exporter`` of one's own is for tests."""
        try:
            from opentelemetry import trace  # noqa: PLC0415 - an optional extra
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
            from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415
            from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
            from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        except ImportError as error:
            raise TracingMissing(MISSING) from error
        self._trace = trace
        named = {"service.name": "arbiter", "service.version": __version__, "service.instance.id": worker}
        # What the environment says is stronger.
        resource = Resource(named).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("arbiter", __version__)

    def batch(self, partition: int, records: int) -> AbstractContextManager[Any]:
        """The span of a batch, current within the block."""
        attributes: dict[str, str | int] = {
            "messaging.system": "kafka",
            "messaging.operation.type": "process",
            "messaging.destination.partition.id": str(partition),
            "messaging.batch.message_count": records,
        }
        return self._tracer.start_as_current_span("batch", kind=self._trace.SpanKind.CONSUMER, attributes=attributes)

    def stage(self, name: str) -> AbstractContextManager[Any]:
        """The span of a stage, a child of the current one."""
        return self._tracer.start_as_current_span(name)

    def link(self, traces: Iterable[bytes]) -> None:
        """Link the current span to these traces, each once, and note how many were left out."""
        span = self._trace.get_current_span()
        known = dict.fromkeys(traces)
        known.pop(b"", None)
        for trace in islice(known, LINKS_MAX):
            trace_id = int.from_bytes(trace[:TRACE_ID_BYTES], "big")
            span_id = int.from_bytes(trace[TRACE_ID_BYTES:SPAN_ID_END], "big")
            flags = self._trace.TraceFlags(trace[SPAN_ID_END])
            span.add_link(self._trace.SpanContext(trace_id, span_id, is_remote=True, trace_flags=flags))
        if len(known) > LINKS_MAX:
            span.set_attribute("arbiter.links_omitted", len(known) - LINKS_MAX)

    def stop(self) -> None:
        """Send what is left, for a moment at most. Blocks; call it off the event loop."""
        # A thread of its own that nobody waits for: a collector that is away must not hold up the end.
        last = threading.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        last.start()
        last.join(STOP_SECONDS_MAX)
