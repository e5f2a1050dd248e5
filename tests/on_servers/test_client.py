"""``arbiter.client`` on a real Kafka with a real worker: from the question to the outcome, and what goes wrong."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from arbiter.client import (
    AsyncClient,
    AsyncDecisionReader,
    AsyncProducer,
    Client,
    Connection,
    Decision,
    Delivery,
    InvalidMessage,
    KafkaUnreachable,
    PermitUsed,
    PermitVoid,
    build,
    envelope,
    record_of,
)
from arbiter.messages import ContactRequest
from tests.inputs.builders import document
from tests.inputs.traffic import LONG_AGO
from tests.servers.process_group import Leashed
from tests.servers.processes import ROOT, KafkaServer
from tests.servers.topics import DECISIONS, OUTCOMES, REQUESTS, entries_of
from tests.servers.workers import MakeSite, Site, wait_until

PARTITIONS = 4
ASK: dict[str, Any] = {"campaign": "gold", "channel": "email", "category": "promotional"}
CAP = {"id": "one", "kind": "cap", "per": ["customer"], "limit": 1, "window": "rolling 1d"}
LISTED = {"id": "listed", "kind": "suppression", "lists": ["do_not_contact"]}

FreshKafka = Callable[..., KafkaServer]


def client_of(site: Site, department: str = "cards") -> Client:
    """A client of the installation."""
    return Client(site.settings.kafka, department, topic_prefix=site.settings.topic_prefix)


def taken_in(site: Site, *deliveries: Delivery) -> None:
    """Return once a worker has committed these records."""
    places = [delivery.result(20) for delivery in deliveries]

    def is_behind() -> bool:
        positions, prefix = site.positions(), site.settings.topic_prefix
        return all(
            positions.get((place.topic.removeprefix(prefix), place.partition), 0) > place.offset for place in places
        )

    wait_until(is_behind, "the client's records are committed")


@pytest.fixture
def decided(make_site: MakeSite, kafka_bootstrap: str, valkey_url: str) -> Site:
    """An installation with a worker that decides by the wall clock."""
    site = make_site(kafka_bootstrap, valkey_url, partitions=PARTITIONS, clock="wall")
    site.publish(document(CAP, LISTED))
    site.start()
    return site


def grant(client: Client, *customers: str) -> list[Delivery]:
    """Let customers consent, long ago."""
    return [
        client.consent(customer_id=customer, purpose="marketing", state="granted", captured_at=LONG_AGO)
        for customer in customers
    ]


def test_a_department_asks_uses_its_permit_and_hears_of_a_recall(decided: Site) -> None:
    """Ask, wait, send within the permit, confirm; a recall makes an unused permit void, and is confirmed."""
    with client_of(decided) as client, client.decisions() as decisions:
        taken_in(decided, *grant(client, "c1", "c2"))
        with pytest.raises(InvalidMessage, match="did you mean `send_after`"):
            client.request(request_id="r0", customer_id="c1", **ASK, sendAfter="2026-12-01")  # type: ignore[call-arg]
        first = client.request(request_id="r1", customer_id="c1", **ASK)
        permit = first.decision().permit
        assert permit is not None
        client.use(permit)
        taken_in(decided, client.confirm(permit))
        over = client.request(request_id="r2", customer_id="c1", **ASK).decision()
        first.ask_again()
        with client_of(decided) as other:
            reused = other.request(request_id="r1", customer_id="c1", **{**ASK, "campaign": "silver"}).decision()

        opens = datetime.now(UTC) + timedelta(seconds=90)
        second = client.request(request_id="r3", customer_id="c2", **ASK, send_after=opens)
        later = second.decision().permit
        assert later is not None
        client.suppression(customer_id="c2", list="do_not_contact", active=True, captured_at=datetime.now(UTC))
        with pytest.raises(PermitVoid, match="when it was recalled"):
            client.use(later)
        confirmed = client.not_sent(later)
        assert confirmed is not None
        taken_in(decided, confirmed)
        told = [(one.request_id, one.outcome) for one in second.decisions(timeout=20)]
        seen = list(iter(lambda: decisions.next(timeout=2), None))

    with pytest.raises(PermitUsed):
        permit.use()
    assert (reused.outcome, reused.codes) == ("rejected", ("invalid_request_id_reused",))
    assert (over.outcome, over.codes, over.permit) == ("deferred", ("cap_reached",), None)
    assert [outcome for _, outcome in told] == ["approved", "recalled", "rejected"]
    by_request = {name: [one.outcome for one in seen if one.request_id == name] for name in ("r1", "r2", "r3")}
    assert by_request == {
        "r1": ["approved", "rejected"],
        "r2": ["deferred"],
        "r3": ["approved", "recalled", "rejected"],
    }
    entries = decided.entries()
    outcomes = [entry.fields()["kind"] for entry in entries_of(OUTCOMES, entries)]
    assert sorted(outcomes) == ["cancelled", "sent"]
    repeats = [entry.fields()["decision_id"] for entry in entries_of(DECISIONS, entries)]
    assert len(repeats) == len(set(repeats)) + 1


def test_a_group_goes_on_where_it_ended(decided: Site) -> None:
    """What was dealt with does not come again, what was not does; another department's decisions never come."""
    with client_of(decided) as cards, client_of(decided, "loans") as loans:
        taken_in(decided, *grant(cards, *(f"c{number}" for number in range(10))))
        for number in range(10):
            cards.request(request_id=f"r{number}", customer_id=f"c{number}", **ASK).decision()
        loans.request(request_id="other", customer_id="c1", **ASK).decision()

        def read(count: int) -> list[Decision]:
            stream = cards.decisions(group=f"{decided.name}-cards")
            found = [decision for _ in range(count) if (decision := stream.next(timeout=20)) is not None]
            stream.close()
            return found

        first, rest = read(4), read(7)
        with cards.decisions(start="begin") as again:
            everything = [again.next(timeout=20) for _ in range(10)]
            positions = again.positions
        with cards.decisions(start=positions) as last:
            assert last.next(timeout=1) is not None
            assert last.next(timeout=1) is None

    # The fourth was given, and not dealt with: it comes again.
    assert {one.request_id for one in first} & {one.request_id for one in rest} == {first[-1].request_id}
    assert {one.request_id for one in (*first, *rest)} == {f"r{number}" for number in range(10)}
    assert {one.department for one in everything if one is not None} == {"cards"}


@pytest.mark.timeout(300)
def test_the_broker_is_restarted_in_the_middle(make_site: MakeSite, fresh_kafka: FreshKafka, valkey_url: str) -> None:
    """It is killed while 150 ask: they wait longer, every request is decided, once, and every outcome arrives."""
    kafka = fresh_kafka()
    site = make_site(kafka.bootstrap, valkey_url, partitions=PARTITIONS, clock="wall")
    site.publish(document(CAP))
    site.start()

    def restarted() -> None:
        time.sleep(0.5)
        kafka.kill()
        kafka.start()

    async def campaign() -> list[Decision]:
        async with AsyncClient(kafka.bootstrap, "cards", topic_prefix=site.settings.topic_prefix) as client:

            async def contact(number: int) -> Decision:
                await asyncio.sleep(number / 50)
                customer = f"c{number}"
                ticket = await client.request(request_id="r", customer_id=customer, **{**ASK, "category": "service"})
                decision = await ticket.decision(timeout=100)
                assert decision.permit is not None, decision.why
                await client.use(decision.permit)
                await client.confirm(decision.permit)
                return decision

            first = await contact(0)
            restart = asyncio.create_task(asyncio.to_thread(restarted))
            others = await asyncio.gather(*(contact(number) for number in range(1, 150)))
            await restart
            return [first, *others]

    decisions = asyncio.run(campaign())
    entries = site.entries()

    assert {one.customer_id for one in decisions} == {f"c{number}" for number in range(150)}
    # A worker whose broker dies tells some decisions again, byte for byte.
    told = {(entry.fields()["decision_id"], entry.value) for entry in entries_of(DECISIONS, entries)}
    assert len(told) == len({name for name, _ in told}) == 150
    sent = {entry.fields()["customer_id"] for entry in entries_of(OUTCOMES, entries)}
    assert sent == {one.customer_id for one in decisions}


CAMPAIGN = """
import sys
import time
from arbiter.client import Client, stable_id

with Client(sys.argv[1], "cards", topic_prefix=sys.argv[2]) as client:
    for number in range(200):
        customer = f"c{number}"
        ticket = client.request(
            request_id=stable_id("gold", customer), customer_id=customer,
            campaign="gold", channel="email", category="service",
        )
        print(customer, ticket.decision().decision_id, flush=True)
"""


def test_a_client_that_was_killed_asks_again_under_the_same_ids(decided: Site, tmp_path: Path) -> None:
    """Started anew it asks everything again: each request has one decision, the same that it had."""
    program = tmp_path / "campaign.py"
    program.write_text(CAMPAIGN)
    command = [sys.executable, str(program), decided.settings.kafka, decided.settings.topic_prefix]
    log = tmp_path / "first"
    with log.open("wb") as output:
        first = Leashed(command, cwd=ROOT, stdout=output)
    try:
        wait_until(lambda: log.read_text().count("\n") >= 50, "a part of the campaign is decided")
    finally:
        first.kill()
        first.wait()
    before = dict(line.split() for line in log.read_text().splitlines()[:50])

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=100)

    after = dict(line.split() for line in done.stdout.splitlines())
    assert len(after) == 200
    assert before.items() <= after.items()
    ids = {entry.fields()["decision_id"] for entry in entries_of(DECISIONS, decided.entries())}
    assert ids == set(after.values())
    assert len(ids) == 200


def test_the_halves_for_a_gateway(decided: Site) -> None:
    """Records of any department are confirmed with their places, and everybody's decisions come from given offsets."""

    async def both() -> tuple[set[tuple[str, str]], dict[int, int]]:
        connection = Connection(decided.settings.kafka, decided.settings.topic_prefix)
        producer, reader = AsyncProducer(connection), AsyncDecisionReader(connection)
        await reader.start(await reader.ends())
        now = datetime.now(UTC)
        for number, department in enumerate(("cards", "loans") * 10):
            fields = {"request_id": f"r{number}", "customer_id": f"c{number}", "department": department, **ASK}
            message, faults = build(ContactRequest, fields, now)
            assert message is not None, faults
            place = await producer.send(record_of(message, envelope(department, connection.topic_prefix), now))
            assert place.topic == decided.settings.topic(REQUESTS)
        heard: set[tuple[str, str]] = set()
        while len(heard) < 20:
            heard |= {(read.message.department, read.message.request_id) for read in await reader.read()}
        await producer.close()
        await reader.close()
        return heard, reader.positions

    heard, positions = asyncio.run(asyncio.wait_for(both(), 60))

    assert heard == {(("cards", "loans")[number % 2], f"r{number}") for number in range(20)}
    assert sum(positions.values()) == 20


def test_a_wrong_prefix_is_told_at_once(decided: Site) -> None:
    """Nothing is sent to topics that are not there, and the error says what to check."""
    client = Client(decided.settings.kafka, "cards", topic_prefix="nobody.")

    with pytest.raises(KafkaUnreachable, match=r"topic nobody\.contact\.decisions\.v1: .*check the topics' prefix"):
        client.request(request_id="r1", customer_id="c1", **ASK)
    client.close()


README, PAGE = ROOT / "README.md", ROOT / "docs" / "client.md"
PROGRAM = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINES_MAX = 30


def program_of(document: Path, site: Site, file: Path, **replaced: str) -> list[str]:
    """The command that runs a document's first program on an installation."""
    text = PROGRAM.findall(document.read_text())[0]
    here = f'"{site.settings.kafka}", "cards", topic_prefix="{site.settings.topic_prefix}"'
    for old, new in {'"127.0.0.1:9092", "cards"': here, **replaced}.items():
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)
    return [sys.executable, "-u", str(file)]


def test_the_campaign_of_the_readme(decided: Site, tmp_path: Path) -> None:
    """Its thirty lines ask for two customers: one is written to when the permit opens, the other's is recalled."""
    assert len(PROGRAM.findall(README.read_text())[0].splitlines()) <= LINES_MAX
    opens = datetime.now(UTC) + timedelta(seconds=12)
    command = program_of(README, decided, tmp_path / "campaign.py", **{"2026-12-01T09:00:00Z": opens.isoformat()})
    log = tmp_path / "log"
    with log.open("wb") as output:
        running = Leashed(command, cwd=ROOT, stdout=output)
    try:
        wait_until(lambda: len(entries_of(DECISIONS, decided.entries())) == 2, "both are approved")
        with client_of(decided) as care:
            care.suppression(customer_id="c-2", list="do_not_contact", active=True, captured_at=datetime.now(UTC))
        assert running.wait(60) == 0
    finally:
        running.kill()
        running.wait()

    lines = log.read_text().splitlines()
    assert "c-1 written to" in lines
    assert [line.split()[1] for line in lines if line.startswith("c-2")] == ["recalled", "rejected"]
    told = [entry.fields() for entry in entries_of(OUTCOMES, decided.entries())]
    assert sorted((one["customer_id"], one["kind"]) for one in told) == [("c-1", "sent"), ("c-2", "cancelled")]


def test_the_programs_of_the_clients_page(decided: Site, tmp_path: Path) -> None:
    """The first asks, uses its permit and confirms; the other is a configuration that librdkafka takes."""
    command = program_of(PAGE, decided, tmp_path / "ask.py")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    told = [entry.fields()["kind"] for entry in entries_of(OUTCOMES, decided.entries())]
    namespace: dict[str, Any] = {}
    exec(PROGRAM.findall(PAGE.read_text())[1], namespace)  # noqa: S102 - our own page

    assert (done.stdout, told) == ("approved \n", ["sent"])
    Client("127.0.0.1:1", "cards", options={**namespace["OPTIONS"], "sasl.password": "x"}).close()
