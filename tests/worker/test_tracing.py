"""The worker's own spans: a batch and its stages, linked to the traces of its requests; only if it is switched on."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import msgspec
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from arbiter.messages import REQUESTS
from arbiter.messages.traces import HEADER
from arbiter.settings import load
from arbiter.worker import process
from arbiter.worker.partition.traced import TracedProcessor
from arbiter.worker.tracing import LINKS_MAX, Tracing, TracingMissing
from tests.harness.partition import CUSTOMERS, P, PartitionCluster
from tests.inputs.builders import request

STAGES = ["read", "decide", "commit", "publish"]


class TracedCluster(PartitionCluster):
    """A partition whose worker has tracing."""

    def __init__(self) -> None:
        super().__init__()
        self.exporter = InMemorySpanExporter()
        self.tracing = Tracing("w", self.exporter)

    def _traced(self, *arguments: Any) -> TracedProcessor:
        return TracedProcessor(self.tracing, *arguments)

    async def begin(self, *arguments: Any, **named: Any) -> Any:
        """See ``Cluster.begin``."""
        kind: Any = self._traced
        return await super().begin(*arguments, kind=kind, **named)


def trace_header(number: int) -> bytes:
    """A ``traceparent``, another one for each number."""
    return b"00-%032x-%016x-01" % (number, number)


async def spans_of(count: int) -> list[Any]:
    """The spans of a worker that decides so many requests, each in a trace of its own."""
    world = TracedCluster()
    for number in range(1, count + 1):
        value = msgspec.json.encode(request(f"r{number}", customer_id=CUSTOMERS[0], category="service"))
        world.append(REQUESTS, P, b"k", value, [(HEADER, trace_header(number))])
    await world.run()
    await asyncio.to_thread(world.tracing.stop)
    return [*world.exporter.get_finished_spans()]


async def test_a_batch_is_a_span_with_its_stages() -> None:
    """The stages come one after another, as children; the batch has links to the requests' traces."""
    spans = await spans_of(3)
    batch = spans[-1]

    assert [*STAGES, "batch"] == [span.name for span in spans]
    assert {batch.context.span_id} == {span.parent.span_id for span in spans[:-1]}
    assert [1, 2, 3] == [link.context.trace_id for link in batch.links]
    assert all(link.context.is_remote and link.context.trace_flags.sampled for link in batch.links)
    assert {"arbiter.verdict": "ok", "messaging.batch.message_count": 3}.items() <= batch.attributes.items()
    assert "w" == batch.resource.attributes["service.instance.id"]


async def test_more_links_than_a_span_keeps_are_counted() -> None:
    """The first ones stand, the number of the others is an attribute."""
    batch = (await spans_of(LINKS_MAX + 5))[-1]

    assert (LINKS_MAX, 5) == (len(batch.links), batch.attributes["arbiter.links_omitted"])


def test_a_worker_runs_without_the_packages() -> None:
    """Where they are not installed its modules are imported all the same."""
    script = "import sys; sys.modules['opentelemetry'] = None; import arbiter.worker.process"

    assert 0 == subprocess.run([sys.executable, "-c", script], check=False).returncode


async def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """With the setting and without the extra the worker says what to install, and ends."""
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(TracingMissing, match=r"arbiter\[otel\]"):
        Tracing("w")
    settings = load({"ARBITER_KAFKA": "k:1", "ARBITER_REDIS": "redis://r", "ARBITER_TRACING": "true"})

    assert 1 == await process.run(settings)
    assert "install `arbiter[otel]`" in caplog.text
