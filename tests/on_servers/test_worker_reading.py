"""What senders write, with a real worker on a real Kafka and Valkey: nothing that protects is lost over its form."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from arbiter.messages import OUTCOMES
from tests.inputs.builders import document
from tests.on_servers.test_worker import letters
from tests.servers.topics import CONSENTS, DECISIONS, REQUESTS, Entry, entries_of
from tests.servers.workers import MakeSite, Site, Worker, wait_until

LISTED = {"id": "listed", "kind": "suppression", "lists": ["do_not_contact", "complaint"]}
ENDS = (
    "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59.9999999Z",
    "+1000000000-12-31T23:59:59.999999999Z",
    "294276-12-31 23:59:59.999999+00",
    "infinity",
    "0001-01-01T00:00:00Z",
)


def now(**ahead: float) -> datetime:
    """The time, and so much later."""
    return datetime.now(UTC) + timedelta(**ahead)


def put(site: Site, topic: str, customer: str, **fields: Any) -> None:
    """Send one record as somebody else's program would."""
    site.put(topic, msgspec.json.encode({"customer_id": customer, **fields}), customer.encode())


def ask(site: Site, customer: str, name: str, **fields: Any) -> None:
    """Ask for a contact that begins in three hours, unless said otherwise."""
    usual = {"department": "cards", "campaign": "gold", "channel": "email", "category": "promotional"}
    put(site, REQUESTS, customer, **usual | {"request_id": name, "send_after": now(hours=3), **fields})


def told(entries: list[Entry]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """What was decided, by customer and request, in order."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for entry in entries_of(DECISIONS, entries):
        said = entry.fields()
        found.setdefault((said["customer_id"], said["request_id"]), []).append(said)
    return found


def outcomes(entries: list[Entry], customer: str, name: str) -> list[str]:
    """The outcomes of a request, in order."""
    return [said["outcome"] for said in told(entries).get((customer, name), [])]


def approved(site: Site, customers: list[str]) -> None:
    """Let customers consent, and each have an approval for later."""
    for customer in customers:
        consent = {"type": "consent", "purpose": "marketing", "state": "granted"}
        put(site, CONSENTS, customer, **consent, captured_at="2020-01-01T00:00:00Z")
    site.settle()
    for customer in customers:
        ask(site, customer, "planned")
    site.settle()
    entries = site.quiet()
    assert {("approved",)} == {tuple(outcomes(entries, customer, "planned")) for customer in customers}


def installed(make_site: MakeSite, bootstrap: str, redis_url: str) -> tuple[Site, Worker]:
    """A worker under the wall clock in Berlin."""
    site = make_site(bootstrap, redis_url, clock="wall", partitions=2)
    site.publish(document(LISTED, timezone="Europe/Berlin"))
    (worker,) = site.start()
    return site, worker


def test_for_ever_loses_no_withdrawal(make_site: MakeSite, kafka_bootstrap: str, valkey_url: str) -> None:
    """Approved for later; a snooze to an end of the calendar; then a withdrawal: recalled, and all else is decided."""
    site, worker = installed(make_site, kafka_bootstrap, valkey_url)
    customers = [f"c{number}" for number in range(len(ENDS))]
    approved(site, customers)
    for customer, end in zip(customers, ENDS, strict=True):
        put(site, CONSENTS, customer, type="preference", captured_at=now(), snooze_until=end)
    site.settle()
    for customer in customers:
        ask(site, customer, "service", category="service", send_after=None)
    site.settle()
    for customer, end in zip(customers, ENDS, strict=True):
        withdrawn = {"type": "consent", "purpose": "marketing", "state": "withdrawn"}
        put(site, CONSENTS, customer, **withdrawn, captured_at=now(), expires_at=end)
        put(site, CONSENTS, customer, type="suppression", list="other", active=True, captured_at=end, expires_at=end)
        put(site, OUTCOMES, customer, department="cards", request_id="none", kind="complained", at=end)
        ask(site, customer, "after", category="service", send_after=None, expires_at=end)
    entries = site.quiet()

    assert {} == letters(entries)
    for customer, end in zip(customers, ENDS, strict=True):
        assert ["approved", "recalled", "rejected"] == outcomes(entries, customer, "planned"), end
        said, *_ = told(entries)[customer, "service"]
        is_snoozed = not end.startswith("0001")
        assert ("the customer snoozed for ever" in str(said)) is is_snoozed
        assert ["rejected"] == outcomes(entries, customer, "after")
    assert 0 == worker.metric("arbiter_alarms_total", kind="undecidable")
    assert worker.is_ready


FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "seven-digits": (CONSENTS, {"type": "suppression", "captured_at": "2026-03-02T10:00:00.1234567Z"}),
    "nulls": (CONSENTS, {"type": "suppression", "proof": None, "source": None, "expires_at": None}),
    "long-proof": (CONSENTS, {"type": "suppression", "proof": "x" * 9_000}),
    "list-in-capitals": (CONSENTS, {"type": "suppression", "list": "Do_Not_Contact"}),
    "no-offset": (CONSENTS, {"type": "suppression", "captured_at": "2026-03-02T10:00:00"}),
    "purpose-in-capitals": (CONSENTS, {"type": "consent", "purpose": "Marketing", "channel": None, "proof": None}),
    "space": (CONSENTS, {"type": "consent", "captured_at": "2026-03-02 10:00:00+0100"}),
    "leap-second": (CONSENTS, {"type": "consent", "captured_at": "2016-12-31T23:59:60Z", "department": " CARDS"}),
    "complaint": (OUTCOMES, {"kind": "complained", "at": "2026-03-02T10:00:00.123456789Z", "campaign": None}),
    "unsubscribed": (OUTCOMES, {"kind": "unsubscribed", "category": "promotional"}),
}
AHEAD = ("list-ahead", "purpose-ahead", "complaint-ahead", "list-year-1", "purpose-1970")
USUAL: dict[str, dict[str, Any]] = {
    "suppression": {"list": "do_not_contact", "active": True},
    "consent": {"purpose": "marketing", "state": "withdrawn"},
    OUTCOMES: {"department": "cards", "request_id": "none"},
}


def protect(site: Site, name: str) -> None:
    """Send the record of a customer that is named after its form."""
    topic, fields = FORMS.get(name, (CONSENTS, {}))
    if name in AHEAD:
        what, _, when = name.partition("-")
        times = {"ahead": now(days=2), "year-1": "0001-01-01T00:00:00Z", "1970": "1970-01-01T00:00:00Z"}
        topic = OUTCOMES if what == "complaint" else CONSENTS
        fields = {"kind": "complained", "at": times[when]} if topic == OUTCOMES else {"captured_at": times[when]}
        if topic == CONSENTS:
            fields["type"] = {"list": "suppression", "purpose": "consent"}[what]
    usual = USUAL[OUTCOMES] | {"at": now()} if topic == OUTCOMES else USUAL[fields["type"]] | {"captured_at": now()}
    put(site, topic, name, **usual | fields)


def test_no_record_that_protects_is_lost_over_its_form(
    make_site: MakeSite, kafka_bootstrap: str, valkey_url: str
) -> None:
    """Whatever its form: what was approved is recalled. What is odd about it is counted, and named in the log."""
    site, worker = installed(make_site, kafka_bootstrap, valkey_url)
    approved(site, [*FORMS, *AHEAD])
    for name in (*FORMS, *AHEAD):
        protect(site, name)
    put(site, CONSENTS, "stranger", type="consent", purpose="markting", state="withdrawn", captured_at=now())
    entries = site.quiet()

    assert {} == letters(entries)
    for name in (*FORMS, *AHEAD):
        assert ["approved", "recalled", "rejected"] == outcomes(entries, name, "planned"), name
    counted = {"dated_at_receipt": 4, "impossible_time": 1, "purpose_unknown": 1}
    assert counted == {name: worker.metric("arbiter_outcome_notes_total", what=name) for name in counted}
    wait_until(lambda: "names a purpose that no category of the policy has" in worker.tail(), "the log says so")


def test_a_retry_in_another_form_is_the_same_request(
    make_site: MakeSite, kafka_bootstrap: str, valkey_url: str
) -> None:
    """It is told the same again; also by the worker that comes after a restart."""
    site, worker = installed(make_site, kafka_bootstrap, valkey_url)
    approved(site, ["c1"])
    expires = now(days=3).replace(microsecond=0, tzinfo=None).isoformat()
    ask(site, "c1", "again", send_after=None, expires_at=f"{expires}Z", attributes={"wave": 1})
    site.settle()
    ask(site, "c1", "again", send_after=None, expires_at=f"{expires}.0009Z", attributes={"wave": 1.0}, priority=50)
    site.settle()
    worker.terminate()
    worker.ended()
    site.start()
    ask(
        site,
        "c1",
        "again",
        expires_at=f"{expires}.0000001+00:00",
        priority=None,
        attributes={"wave": 1e0},
        send_after=None,
    )
    entries = site.quiet()

    assert {} == letters(entries)
    assert 3 == len(told(entries)["c1", "again"])
    assert 1 == len({msgspec.json.encode(said) for said in told(entries)["c1", "again"]})


def test_a_breath_before_the_opening_is_before_it(make_site: MakeSite, kafka_bootstrap: str, valkey_url: str) -> None:
    """Fractions of a millisecond are rounded down."""
    tomorrow = now(days=1).strftime("%Y-%m-%d")
    site = make_site(kafka_bootstrap, valkey_url, clock="wall", partitions=2)
    night = {"id": "night", "kind": "quiet_hours", "closed": {"every day": "20:00-09:00"}}
    site.publish(document(night, timezone="UTC"))
    site.start()
    consent = {"type": "consent", "purpose": "marketing", "state": "granted", "captured_at": "2020-01-01T00:00:00Z"}
    put(site, CONSENTS, "c1", **consent)
    site.settle()
    ask(site, "c1", "before", send_after=f"{tomorrow}T08:59:59.9999999Z")
    ask(site, "c1", "at", send_after=f"{tomorrow}T09:00:00.0000000Z")
    entries = site.quiet()

    assert ["deferred"] == outcomes(entries, "c1", "before")
    assert ["approved"] == outcomes(entries, "c1", "at")
