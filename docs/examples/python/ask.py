"""Ask whether a customer may be contacted, wait for the decision, use the permit: `python ask.py CUSTOMER CATEGORY`.

With confluent-kafka alone. ARBITER_KAFKA names the brokers, ARBITER_TOPIC_PREFIX what stands before the topics' names.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import Consumer, Producer

KAFKA, PREFIX = os.environ["ARBITER_KAFKA"], os.environ.get("ARBITER_TOPIC_PREFIX", "")
DEPARTMENT = "shop"

# Without this partitioner, records reach another partition than those of the other departments, and make a detour.
producer = Producer({"bootstrap.servers": KAFKA, "partitioner": "murmur2_random", "enable.idempotence": True})
# A group goes on where it ended; a new one begins with the oldest decision, so that none is missed.
reading = {"group.id": "shop-mailer-python", "auto.offset.reset": "earliest", "isolation.level": "read_committed"}
consumer = Consumer({"bootstrap.servers": KAFKA, **reading})


def main(customer: str, category: str) -> int:
    """Ask, and do what is decided. Exit code 1 if the customer must not be contacted."""
    # The same question has the same id whenever this runs again, and gets the same answer.
    request = {
        "request_id": f"welcome-{category}-{customer}",
        "customer_id": customer,
        "department": DEPARTMENT,
        "campaign": "welcome",
        "channel": "email",
        "category": category,
    }
    consumer.subscribe([f"{PREFIX}contact.decisions.v1"])
    send("contact.requests.v1", request)
    try:
        return wait(request)
    finally:
        consumer.close()


def wait(request: dict[str, str]) -> int:
    """Read decisions until this request has its last one, or its permit is used."""
    newest, permit = -1, None
    while True:
        decision = read()
        # The topic has everybody's decisions, and sometimes one of them twice.
        if decision and is_about(decision, request) and number_of(decision) > newest:
            newest = number_of(decision)
            permit = decision if decision["outcome"] == "approved" else None
            print(customer_line(decision), flush=True)
            if decision["outcome"] == "rejected":
                return 1
        # A deferred or recalled request comes back by itself: nothing to do but to go on reading.
        now = datetime.now(UTC)
        if permit and at(permit.get("not_before", permit["decided_at"])) <= now:
            return use(permit, now)


def use(permit: dict[str, Any], now: datetime) -> int:
    """Make the contact, if there is still time, and say what became of it."""
    is_late = now >= at(permit["valid_until"])
    if not is_late:
        # Your mail system. It refuses a second message with the same key.
        print(f"e-mail to {permit['customer_id']}, key {permit['decision_id']}")
    outcome = {name: permit[name] for name in ("department", "customer_id", "request_id")}
    send("contact.outcomes.v1", {**outcome, "kind": "cancelled" if is_late else "sent", "at": now.isoformat()})
    return int(is_late)


def send(topic: str, message: dict[str, str]) -> None:
    """Produce a message with its customer as the key, and wait until Kafka has it."""
    failed = []
    producer.produce(
        f"{PREFIX}{topic}",
        json.dumps(message),
        key=message["customer_id"],
        on_delivery=lambda error, _: failed.append(error) if error else None,
    )
    if producer.flush(30) or failed:
        raise SystemExit(f"Kafka did not take it; send it again with the same ids: {failed}")


def read() -> dict[str, Any] | None:
    """The next decision; nothing if none comes within a second."""
    record = consumer.poll(1)
    if record is None:
        return None
    if record.error():
        print(record.error(), file=sys.stderr)
        return None
    decision: dict[str, Any] = json.loads(record.value() or b"{}")
    return decision


def is_about(decision: dict[str, Any], request: dict[str, str]) -> bool:
    """Request ids are unique within a department. A dry run decides nothing."""
    return not decision.get("dry_run") and all(
        decision.get(name) == request[name] for name in ("department", "request_id")
    )


def number_of(decision: dict[str, Any]) -> int:
    """The `n` at the end of a decision's id; of two decisions on a request the greater one stands."""
    return int(decision["decision_id"].rpartition(":")[2])


def at(text: str) -> datetime:
    """A time of a decision."""
    return datetime.fromisoformat(text)


def customer_line(decision: dict[str, Any]) -> str:
    """A decision in a line for people."""
    why = "; ".join(f"{finding['code']}: {finding['message']}" for finding in decision.get("findings", []))
    when = decision.get("valid_until") or decision.get("retry_at") or "no more"
    return f"{decision['outcome']} {decision['customer_id']} ({when}) {why}".rstrip()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
