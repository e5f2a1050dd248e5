"""Real worker processes on real servers: an installation with topics and Redis keys of its own, and its workers."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import HTTPError, URLError
from uuid import uuid4

import msgspec
from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from arbiter.ledger.model import Ledger
from arbiter.messages import ConsentChange, ContactRequest, PreferenceChange, Profile, SuppressionChange
from arbiter.policy.kill_switches import Kill, Target
from arbiter.policy.ruleset import load as load_policy
from arbiter.settings import Settings
from arbiter.settings import load as load_settings
from arbiter.state.codec import unpack_ledger
from arbiter.state.keys import Keys
from arbiter.state.policy_store import Activation, KillOrder, Order, PolicyStore
from arbiter.state.redis_store import RedisStore, connect
from arbiter.worker.kafka import topics
from tests.model.reference import Reference
from tests.model.topics import differences, feed
from tests.oracle.invariants import Books, broken, unlawful
from tests.servers.process_group import Leashed
from tests.servers.processes import ROOT, free_port
from tests.servers.topics import CONSENTS, DECISIONS, INPUTS, PROFILES, REQUESTS, Barrier, Entry, Place, read_topics

WAIT_SECONDS_MAX = 40.0
LOOK_SECONDS = 0.05
LOG_CHARACTERS = 6_000

Result = TypeVar("Result")
Sent = ContactRequest | ConsentChange | PreferenceChange | SuppressionChange | Profile


def wait_until(condition: Callable[[], Any], what: str, seconds: float = WAIT_SECONDS_MAX) -> None:
    """Look again and again until ``condition()`` is true; an ``AssertionError`` that says ``what`` if it never is."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds:g} s in vain until {what}"
        time.sleep(LOOK_SECONDS)


class Worker:
    """One ``arbiter worker`` process; its log goes to a file."""

    def __init__(
        self,
        environment: Mapping[str, str],
        log: Path,
        module: str = "arbiter",
        root: Path = ROOT,
        command: str = "worker",
    ) -> None:
        """Start it. ``environment`` has its settings; ``module`` is what is run, from the tree at ``root``."""
        self.log = log
        self.command = command
        self._port = free_port()
        self._command, self._root = [sys.executable, "-m", module, command], root
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ARBITER_")}
        self._environment = {
            "PYTHONFAULTHANDLER": "1",
            **inherited,
            **environment,
            "ARBITER_HTTP": f"127.0.0.1:{self._port}",
        }
        self._process = self._started()

    def start_again(self) -> None:
        """Start it once more after it ended, at the same address, as a supervisor does."""
        self._process = self._started()

    def _started(self) -> Leashed:
        with self.log.open("ab") as output:
            return Leashed(
                self._command,
                cwd=self._root,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for pytest, which then ends the workers.
                start_new_session=True,
            )

    @property
    def address(self) -> str:
        """``host:port`` of its health and metrics."""
        return f"127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """Its process id, which is part of the name by which it owns partitions."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL, by process id."""
        self._process.kill()
        self._process.wait()

    def terminate(self) -> None:
        """SIGTERM; :meth:`ended` gives what it says in the end."""
        self._process.terminate()

    def pause(self) -> None:
        """SIGSTOP: it lives, and does nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT after :meth:`pause`."""
        self._process.send_signal(signal.SIGCONT)

    def ended(self, seconds: float = WAIT_SECONDS_MAX) -> int:
        """The exit code; ``subprocess.TimeoutExpired`` if it still runs after so many seconds."""
        return self._process.wait(seconds)

    def end(self) -> None:
        """Leave nothing running, whatever state it is in."""
        if self.is_running:
            self._process.send_signal(signal.SIGCONT)
            self.kill()

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of a page; status 0 while nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=5) as reply:
                return reply.status, reply.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()
        except (URLError, OSError):
            return 0, ""

    @property
    def is_ready(self) -> bool:
        """Whether ``/readyz`` says 200."""
        return self.get("/readyz")[0] == 200

    @property
    def reasons(self) -> str:
        """Why it is not ready, as ``/readyz`` says; empty if it is, or says nothing."""
        status, text = self.get("/readyz")
        return " | ".join(json.loads(text)["reasons"]) if status == 503 else ""

    @property
    def claimed(self) -> int:
        """How many partitions it decides for, as ``/readyz`` says; older builds say it, too."""
        status, text = self.get("/readyz")
        return int(json.loads(text)["partitions"]["claimed"]) if status else 0

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name that have these labels."""
        samples = [
            sample
            for family in text_string_to_metric_families(self.get("/metrics")[1])
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
        return sum(sample.value for sample in samples)

    def wait_ready(self) -> Worker:
        """Return once it is ready; fails at once if it ended."""
        wait_until(lambda: self.is_ready or not self.is_running, f"a worker is ready ({self.log})")
        assert self.is_running, f"the worker ended with {self._process.returncode}:\n{self.tail()}"
        return self

    def wait_unready(self, reason: str) -> None:
        """Return once ``/readyz`` gives this among its reasons; fails at once if the worker ended."""
        wait_until(lambda: reason in self.reasons or not self.is_running, f"a worker says `{reason}` ({self.log})")
        assert self.is_running, f"the worker ended with {self._process.returncode}:\n{self.tail()}"

    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-LOG_CHARACTERS:]


class Site:
    """An installation: topics and keys under a prefix of its own, what is sent to it, and what becomes of it."""

    def __init__(self, bootstrap: str, redis_url: str, directory: Path, **settings: object) -> None:
        """``settings`` are named as in ``arbiter.settings``. Topics are made here; decisions go by the event clock."""
        self.name = f"t{uuid4().hex[:8]}"
        self._directory = directory
        given = {
            "clock": "event",
            "event_idle_ms": 0,
            "partitions": 8,
            "session_timeout_ms": 6_000,
            "heartbeat_interval_ms": 500,
        }
        given |= {"redis_prefix": self.name, "group": self.name, "topic_prefix": f"{self.name}.", **settings}
        given |= {"kafka": bootstrap, "redis": redis_url, "replication": 1}
        self.environment = {f"ARBITER_{name.upper()}": str(value) for name, value in given.items()}
        self.settings: Settings = load_settings(self.environment)
        self.partitions = self.settings.partitions
        self.workers: list[Worker] = []
        self.module = "arbiter"
        self.root = ROOT
        self.documents: dict[int, dict[str, Any]] = {}
        self.barriers: list[Barrier] = []
        self.unanswered: set[Place] = set()
        """Records whose letters an older build wrote: it answered none."""
        self._ends: dict[tuple[str, int], int] = {}
        self._failures: list[KafkaError] = []
        self.client_config: dict[str, str | int | float] = {
            "bootstrap.servers": bootstrap,
            "partitioner": "murmur2_random",
            "log_level": 0,
        }
        self._producer = Producer({**self.client_config, "linger.ms": 5, "enable.idempotence": True})
        self.redis = Redis.from_url(redis_url)
        topics.create(self.settings)

    # Workers and policies

    def start(self, count: int = 1, **settings: object) -> list[Worker]:
        """Start workers and wait until each is ready and owns its share; ``settings`` are for these alone."""
        started = [self.start_one(**settings) for _ in range(count)]
        for worker in started:
            worker.wait_ready()
        alive = [worker for worker in self.workers if worker.is_running and worker.command == "worker"]
        wait_until(lambda: self._is_shared_out(alive), "the partitions are shared out")
        return started

    def start_one(self, **settings: object) -> Worker:
        """Start a worker and wait for nothing."""
        return self._run("worker", settings)

    def start_canary(self, **settings: object) -> Worker:
        """Start a canary, whose process is watched as a worker's, and wait for nothing."""
        return self._run("canary", settings)

    def start_gateway(self, **settings: object) -> Worker:
        """Start a gateway, whose process is watched as a worker's, and wait for nothing."""
        return self._run("gateway", settings)

    def _run(self, command: str, settings: Mapping[str, object]) -> Worker:
        changed = {f"ARBITER_{name.upper()}": str(value) for name, value in settings.items()}
        log = self._directory / f"{self.name}-{command}-{len(self.workers) + 1}.log"
        self.workers.append(Worker({**self.environment, **changed}, log, self.module, self.root, command))
        return self.workers[-1]

    def _is_shared_out(self, workers: list[Worker]) -> bool:
        claimed = [worker.claimed for worker in workers]
        return min(claimed) > 0 and sum(claimed) == self.partitions

    def publish(self, document: Mapping[str, Any], *, recalls: bool = False) -> int:
        """Publish a policy document as it is, good or bad, and put it in force; gives its version."""
        packed = msgspec.json.encode(document)
        digest = hashlib.sha256(packed).hexdigest()

        async def publish(policies: PolicyStore) -> int:
            record = await policies.publish(str(document.get("policy")), digest, "tests", packed)
            await policies.activate(record.version, Order(by="tests", is_alone=True, recalls=recalls))
            return record.version

        version = self.with_policies(publish)
        self.documents[version] = dict(document)
        return version

    def kill(self, target: Target, name: str = "", **order: Any) -> tuple[Kill, Activation | None]:
        """Order a kill switch; for an hour unless said otherwise."""
        if "until_ms" not in order:
            order.setdefault("for_ms", 3_600_000)
        given = {"by": "ops@bank.example", "reason": "a wrong rate", **order}
        return self.with_policies(lambda policies: policies.kill(KillOrder(target=target, name=name, **given)))

    def with_policies(self, work: Callable[[PolicyStore], Awaitable[Result]]) -> Result:
        """Do something with the policies of the installation."""
        return self._with_store(lambda store: work(store.policies))

    def _with_store(self, work: Callable[[RedisStore], Awaitable[Result]]) -> Result:
        async def connected() -> Result:
            store = connect(self.settings.redis, self.settings.redis_prefix)
            try:
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(connected())

    def limit_decisions(self, size: int) -> None:
        """Let Kafka refuse decisions that come in batches of more bytes than this."""
        change = ConfigEntry("max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET)
        topic = ConfigResource(ResourceType.TOPIC, self.settings.topic(DECISIONS), incremental_configs=[change])
        admin = AdminClient(self.client_config)
        admin.incremental_alter_configs([topic])[topic].result(WAIT_SECONDS_MAX)

    # Records in

    def send(self, *messages: Sent, partition: int = -1) -> None:
        """Produce messages to their topics, keyed as a client does it; ``partition`` overrides where they belong."""
        for message in messages:
            topic = REQUESTS if isinstance(message, ContactRequest) else CONSENTS
            topic = PROFILES if isinstance(message, Profile) else topic
            self.put(topic, msgspec.json.encode(message), message.customer_id.encode(), partition)

    def put(self, topic: str, value: bytes | None, key: bytes | None, partition: int = -1) -> None:
        """Produce one record."""
        self._producer.produce(
            self.settings.topic(topic), value, key=key, partition=partition, on_delivery=self._delivered
        )
        self._producer.poll(0)

    def paced(self, messages: Iterable[Sent], at_a_time: int = 25, pause_s: float = 0.01) -> Iterator[int]:
        """Produce so many at a time with a pause between, and give how many were produced; a test acts in between."""
        for number, message in enumerate(messages, 1):
            self.send(message)
            if number % at_a_time == 0:
                time.sleep(pause_s)
                yield number

    def flush(self) -> None:
        """Wait until Kafka has everything; fails if it refused a record."""
        left = self._producer.flush(WAIT_SECONDS_MAX)
        assert (left, self._failures) == (0, [])

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failures.append(error)
            return
        topic, partition, offset = message.topic() or "", message.partition() or 0, message.offset() or 0
        place = topic.removeprefix(self.settings.topic_prefix), partition
        self._ends[place] = max(self._ends.get(place, 0), offset + 1)

    # What became of it

    def positions(self) -> dict[tuple[str, int], int]:
        """The next offset by topic and partition, as the store has it with the state."""
        found = {}
        for number in range(self.partitions):
            head: Any = self.redis.hgetall(Keys(self.name).partition(number).head)
            for field, offset in head.items():
                if field.startswith(b"p:"):
                    topic = field.decode().removeprefix("p:" + self.settings.topic_prefix)
                    found[topic, number] = int(offset)
        return found

    def ledgers(self) -> dict[str, Ledger]:
        """All ledgers, by party."""

        async def read(store: RedisStore) -> dict[str, Ledger]:
            return {party: unpack_ledger(packed) async for party, packed in store.ledgers()}

        return self._with_store(read)

    def unconfirmed(self) -> list[bytes]:
        """The partitions' packed outboxes that nobody has forgotten yet."""
        keys = [Keys(self.name).partition(number).outbox for number in range(self.partitions)]
        outboxes: Any = self.redis.mget(keys)
        return [outbox for outbox in outboxes if outbox is not None]

    def settle(self) -> None:
        """Wait until everything that was sent is taken in and committed."""
        self.flush()
        wait_until(lambda: not self._behind(), "everything that was sent is committed")

    def _behind(self) -> list[tuple[str, int]]:
        positions = self.positions()
        return [place for place, end in self._ends.items() if positions.get(place, 0) < end]

    def barrier(self) -> None:
        """:meth:`settle`, and remember that the facts sent so far are known to the requests to come."""
        self.settle()
        self.note_barrier()

    def note_barrier(self) -> None:
        """The facts sent so far are known to every request that is not committed yet: the test made it so."""
        positions = self.positions()
        requests = {number: positions.get((REQUESTS, number), 0) for number in range(self.partitions)}
        self.barriers.append(Barrier(dict(self._ends), requests))

    def quiet(self) -> list[Entry]:
        """Wait until everything is committed, published and confirmed, also what was sent home; all topics then."""
        self.settle()
        wait_until(lambda: not self.unconfirmed(), "every output is confirmed")
        entries = self.entries()
        for entry in entries:
            if entry.topic in INPUTS:
                self._ends[entry.place[:2]] = max(self._ends.get(entry.place[:2], 0), entry.offset + 1)
        return self.quiet() if self._behind() else entries

    def entries(self) -> list[Entry]:
        """Everything that stands on the topics now."""
        return read_topics(self.settings.kafka, self.settings.topic_prefix)

    def audit(self) -> list[Entry]:
        """When all is quiet: check the promises, and give what stands on the topics."""
        entries = self.check(self.quiet())
        assert [] == unlawful(self.books(entries), self.documents, self.barriers)[:20]
        return entries

    def check(self, entries: list[Entry]) -> list[Entry]:
        """Check the histories of all requests, when all is quiet; gives the entries back."""
        assert [] == broken(self.books(entries), self.positions())[:20]
        return entries

    def books(self, entries: Iterable[Entry]) -> Books:
        """The entries, sorted by what they are."""
        return Books(entries, self.partitions, self.settings.topic_prefix, self.unanswered)

    def compare(self, entries: list[Entry]) -> None:
        """Check that every decision is the one that the sequential reference makes under the same policy version."""
        books = self.books(entries)
        made = [decision.said["policy"] for decision in books.decisions.values()]
        versions = {decision.source: decision.said["policy"]["version"] for decision in books.decisions.values()}
        policies = {
            version: load_policy(msgspec.json.encode(self.documents[version]), version, digest)
            for version, digest in {ref["version"]: ref["digest"] for ref in made}.items()
        }
        newest = max(policies)

        def policy_for(place: Place) -> Any:
            return policies[versions.get(place, newest)]

        reference = Reference(policies[newest], self.partitions, is_event_time=True)
        feed(reference, entries, self.barriers, policy_for)
        found = differences(reference, entries, self.settings.topic_prefix)
        refused = set(books.letters) ^ set(reference.refused)
        assert not refused, f"dead letters that only one of worker and reference has: {sorted(refused)[:20]}"
        assert not found, "\n".join([f"{len(found)} decisions differ from the reference:", *found[:20]])

    def close(self) -> str:
        """End all workers and forget the keys; gives the ends of the workers' logs."""
        for worker in self.workers:
            worker.end()
        self._producer.purge()
        self._producer.flush(5)
        return "\n".join(f"--- {worker.log}\n{worker.tail()}" for worker in self.workers)


MakeSite = Callable[..., Site]
