"""``arbiter gateway`` on a real Kafka with a real worker: what is answered, and what then stands on the topics."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from click.testing import CliRunner

from arbiter.cli import main
from tests.inputs.builders import document
from tests.on_servers.test_docs import shell_lines
from tests.servers.gateway import Gateway, Reply, new_key
from tests.servers.processes import ROOT, KafkaServer
from tests.servers.receiver import SECRET, receiving
from tests.servers.topics import CONSENTS, OUTCOMES, PROFILES, REQUESTS, Entry, read_topics
from tests.servers.workers import MakeSite, Site, wait_until

ASKED: dict[str, Any] = {"customer_id": "c1", "campaign": "gold", "channel": "email", "category": "service"}
PAGE = ROOT / "docs" / "gateway.md"
EXAMPLE = re.compile(r"^```http\n(\S+) (\S+)\n((?:[\w-]+: .*\n)*)(?:\n([{\[].*)\n)?\n(\d+)\n```", re.MULTILINE)
CAPPED = {"id": "few", "kind": "cap", "per": ["party"], "limit": 1, "window": "rolling 1d"}


@pytest.fixture
def gateway(make_site: MakeSite, kafka_bootstrap: str, valkey_url: str, tmp_path: Path) -> tuple[Site, Gateway]:
    """An installation with one worker and one gateway; its policy allows one contact a day."""
    site = make_site(kafka_bootstrap, valkey_url, partitions=2, clock="wall")
    site.publish(document(CAPPED))
    running = Gateway(site, tmp_path, gateway_batch_max=50, gateway_body_bytes=20_000, gateway_rate=0)
    site.start()
    return site, running.wait_ready()


@pytest.fixture
def standing(make_site: MakeSite, kafka_bootstrap: str, valkey_url: str, tmp_path: Path) -> Gateway:
    """A gateway with nobody who decides."""
    site = make_site(kafka_bootstrap, valkey_url, partitions=2, clock="wall")
    site.publish(document())
    return Gateway(site, tmp_path, gateway_wait_ms=100, gateway_rate=0).wait_ready()


def on(site: Site, topic: str) -> list[Entry]:
    """What stands on a topic."""
    return read_topics(site.settings.kafka, site.settings.topic_prefix, (topic,))


def test_a_department_asks_waits_and_reports(gateway: tuple[Site, Gateway]) -> None:
    """One request with its decision, many with theirs, a check that spends nothing, and every kind of report."""
    site, calls = gateway

    checked = calls.post("/v1/check", ASKED, Prefer="wait=20")
    approved = calls.post("/v1/requests", {**ASKED, "request_id": "r1"}, Prefer="wait=20")
    many = calls.post("/v1/requests", [ASKED, {**ASKED, "customer_id": "c2"}], Prefer="respond-async, wait=20")
    later = calls.post("/v1/requests", {**ASKED, "customer_id": "c3"})
    about = {"customer_id": "c1", "request_id": "r1"}
    now = "2026-03-02T10:00:00+01:00"
    reports = {
        "/v1/outcomes": {**about, "kind": "sent"},
        "/v1/consents": {"customer_id": "c1", "purpose": "marketing", "state": "granted", "captured_at": now},
        "/v1/preferences": [{"customer_id": "c1", "captured_at": now}],
        "/v1/suppressions": {"customer_id": "c1", "list": "do_not_contact", "active": True, "captured_at": now},
        "/v1/profiles": {"customer_id": "c1", "time_zone": "Europe/Lisbon"},
    }
    told = [calls.post(path, body) for path, body in reports.items()]

    assert (checked.status, checked.said["outcome"], checked.said["dry_run"]) == (200, "approved", True)
    assert (approved.status, approved.headers["preference-applied"]) == (200, "wait=20")
    assert (approved.said["decision"]["outcome"], approved.said["request_id"]) == ("approved", "r1")
    assert approved.said["department"] == approved.said["decision"]["department"] == "cards"
    assert approved.headers["location"].startswith("/v1/requests/r1?customer_id=c1&since=20")
    assert [one["decision"]["outcome"] for one in many.said] == ["deferred", "approved"]
    assert (later.status, later.headers["retry-after"], "decision" in later.said) == (202, "1", False)
    assert [(reply.status, reply.said) for reply in told] == [(202, {"accepted": 1})] * 5
    kinds = [json.loads(entry.value or b"").get("type") for entry in on(site, CONSENTS)]
    assert sorted(kinds) == ["consent", "preference", "suppression"]
    assert [len(on(site, topic)) for topic in (OUTCOMES, PROFILES)] == [1, 1]
    sources = {entry.headers["ce_source"] for entry in on(site, REQUESTS)}
    assert sources == {f"/departments/cards/keys/{calls.key.split('_')[1]}".encode()}


def test_the_page_is_true(gateway: tuple[Site, Gateway], tmp_path: Path) -> None:
    """Its key can be made, and each of its calls is answered as it says."""
    _, calls = gateway
    (make, start) = shell_lines(PAGE.read_text())
    made = CliRunner().invoke(main, make.replace("keys.json", str(tmp_path / "page.json")).split()[1:])
    both = [json.loads(path.read_text())["keys"] for path in (calls.keys, tmp_path / "page.json")]
    calls.keys.write_text(json.dumps({"keys": both[0] + both[1]}))
    key = made.stdout.strip()
    wait_until(lambda: calls.call("POST", "/v1/check", ASKED, key=key).status == 200, "the page's key works")

    found = EXAMPLE.findall(PAGE.read_text())
    answers = []
    for method, path, lines, body, _ in found:
        headers = dict(line.split(": ", 1) for line in lines.splitlines())
        answers.append(str(calls.call(method, path, body.encode() or None, headers, key).status))

    assert start == "ARBITER_GATEWAY_KEYS_FILE=keys.json arbiter gateway"
    assert len(found) == PAGE.read_text().count("```http") >= 3
    assert answers == [status for *_, status in found]


def test_a_repeat_with_the_same_key_is_the_same_request(gateway: tuple[Site, Gateway]) -> None:
    """The same call gives the same request and decision; other content under the key is refused, and not sent."""
    site, calls = gateway

    first = calls.post("/v1/requests", ASKED, Idempotency_Key="wave-7", Prefer="wait=20")
    again = calls.post("/v1/requests", ASKED, Idempotency_Key='"wave-7"', Prefer="wait=20")
    other = calls.post("/v1/requests", {**ASKED, "campaign": "silver"}, Idempotency_Key="wave-7")
    elsewhere = calls.post(
        "/v1/outcomes", {"customer_id": "c", "request_id": "r", "kind": "sent"}, Idempotency_Key="wave-7"
    )

    assert (first.status, again.status) == (200, 200)
    assert first.said["decision"] == again.said["decision"]
    assert first.said["decision"]["outcome"] == "approved"
    assert other.problem.startswith(
        "idempotency-key-reused: `wave-7` came with other content within 24 h; use a new key"
    )
    assert (other.status, elsewhere.status) == (422, 422)
    assert {json.loads(entry.value or b"")["campaign"] for entry in on(site, REQUESTS)} == {"gold"}


def test_nobody_asks_as_another_and_keys_change_while_it_runs(gateway: tuple[Site, Gateway]) -> None:
    """A key is its department's; a new one works and a revoked one ends without a restart; a bad file ends nothing."""
    _, calls = gateway

    foreign = calls.post("/v1/requests", {**ASKED, "department": "loans"})
    fresh = new_key(calls.keys, "loans", "--role", "publisher")
    wait_until(lambda: calls.call("POST", "/v1/check", ASKED, key=fresh).status == 200, "the new key works")
    own = calls.call("POST", "/v1/requests", ASKED, {"Prefer": "wait=20"}, key=fresh)
    role = calls.call("POST", "/v1/consents", {}, key=fresh)
    good = calls.keys.read_text()
    calls.keys.write_text("{")
    wait_until(lambda: calls.process.metric("arbiter_gateway_key_file_failures_total") > 0, "the bad file is seen")
    still = calls.call("POST", "/v1/check", ASKED, key=fresh)
    kept = {"keys": [one for one in json.loads(good)["keys"] if one["department"] == "cards"]}
    calls.keys.write_text(json.dumps(kept))
    wait_until(lambda: calls.call("POST", "/v1/check", ASKED, key=fresh).status == 401, "the key is revoked")

    assert foreign.problem.startswith("other-department: 1 field is wrong; nothing was sent. `department`: the key is")
    assert foreign.said["errors"][0]["pointer"] == "/department"
    assert own.said["department"] == own.said["decision"]["department"] == "loans"
    assert role.problem.startswith("role-missing: this needs the role `privacy`")
    assert still.status == 200


def test_every_wrong_call_has_one_clear_answer(gateway: tuple[Site, Gateway]) -> None:
    """Each names the field and the fix, and nothing of it is sent."""
    site, calls = gateway
    long = {**ASKED, "attributes": {"a": "x" * 1000, **{f"k{n}": "y" * 1000 for n in range(25)}}}

    answers: dict[str, Reply] = {
        "not-json": calls.post("/v1/requests", b'{"customer_id": '),
        "media-type": calls.post("/v1/requests", b"a=1", Content_Type="application/x-www-form-urlencoded"),
        "body-too-large": calls.post("/v1/requests", long),
        "batch-too-large": calls.post("/v1/requests", [ASKED] * 51),
        "message-invalid": calls.post("/v1/requests", [ASKED, {**ASKED, "sendAfter": "2026-03-02T10:00:00"}]),
        "key-wrong": calls.call(
            "POST", "/v1/requests", ASKED, key=calls.key[:-1] + ("a" if calls.key[-1] != "a" else "b")
        ),
        "key-missing": calls.post("/v1/requests", ASKED, Authorization="Basic YTpi"),
        "not-found": calls.post("/v2/requests", ASKED),
        "method-not-allowed": calls.call("PUT", "/v1/requests", ASKED),
        "idempotency-key-invalid": calls.post("/v1/requests", ASKED, Idempotency_Key="x" * 256),
    }

    assert {name: reply.problem.partition(":")[0] for name, reply in answers.items()} == {
        name: name for name in answers
    }
    wrong = answers["message-invalid"].said
    assert wrong["detail"] == (
        "1 field is wrong; nothing was sent. `sendAfter`: there is no such field; did you mean `send_after`?"
    )
    assert [fault["pointer"] for fault in wrong["errors"]] == ["/1/sendAfter"]
    assert answers["method-not-allowed"].headers["allow"] == "POST"
    assert "send it in parts" in answers["batch-too-large"].problem
    assert answers["key-wrong"].headers["www-authenticate"].startswith("Bearer")
    assert on(site, REQUESTS) == []


def test_a_call_that_is_cut_sends_nothing(gateway: tuple[Site, Gateway]) -> None:
    """The connection ends in the middle of the body: nothing of it is on the topic, and the gateway goes on."""
    site, calls = gateway
    body = json.dumps([ASKED] * 20).encode()
    head = (
        f"POST /v1/requests HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {calls.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()

    for end in (10, len(body) - 1):
        with socket.create_connection(("127.0.0.1", calls.port), timeout=10) as cut:
            cut.sendall(head + body[:end])
    whole = calls.post("/v1/requests", ASKED, Prefer="wait=20")
    refused = calls.process.metric("arbiter_gateway_refused_total", problem="body-cut")

    assert whole.status == 200
    assert (len(on(site, REQUESTS)), refused) == (1, 2)
    assert calls.process.metric("arbiter_gateway_calls_in_flight") == 0


def events(calls: Gateway, path: str, count: int, headers: dict[str, str] | None = None) -> list[dict[str, str]]:
    """So many events with data of a stream, and then it is closed."""
    connection = http.client.HTTPConnection("127.0.0.1", calls.port, timeout=30)
    given = {"Authorization": f"Bearer {calls.key}", "Accept": "text/event-stream", **(headers or {})}
    try:
        connection.request("GET", path, headers=given)
        reply = connection.getresponse()
        assert (reply.status, reply.headers["Content-Type"]) == (200, "text/event-stream")
        found: list[dict[str, str]] = []
        event: dict[str, str] = {}
        while len(found) < count:
            line = reply.readline().decode().rstrip("\n")
            name, _, value = line.partition(": ")
            if line:
                event[name] = value
            else:
                found += [event] if "data" in event else []
                event = {}
        return found
    finally:
        connection.close()


def test_a_department_reads_what_became_of_its_requests(gateway: tuple[Site, Gateway]) -> None:
    """History, page and stream have each decision once and in order; none is missed; no other department sees it."""
    site, calls = gateway
    began = datetime.now(UTC).isoformat()
    other = new_key(calls.keys, "loans", "--role", "reader")
    first = calls.post("/v1/requests", {**ASKED, "request_id": "r/1"}, Prefer="wait=20")
    calls.post("/v1/requests", {**ASKED, "request_id": "r2"}, Prefer="wait=20")

    history = calls.call("GET", first.headers["location"])
    nothing = calls.call("GET", "/v1/requests/nobody?customer_id=c1")
    page = calls.call("GET", f"/v1/decisions?since={quote(began)}", headers={"Prefer": "wait=20"})
    stream = events(calls, f"/v1/decisions?since={quote(began)}", 2)
    with ThreadPoolExecutor(2) as pool:
        waits = {"Prefer": "wait=30"}
        paged = pool.submit(calls.call, "GET", f"/v1/decisions?after={page.said['next']}", headers=waits)
        streamed = pool.submit(events, calls, "/v1/decisions", 2, {"Last-Event-ID": stream[0]["id"]})
        calls.post("/v1/outcomes", {"customer_id": "c1", "request_id": "r/1", "kind": "cancelled"})
        later, again = paged.result(), streamed.result()
    wait_until(lambda: calls.call("GET", "/v1/decisions", key=other).status == 200, "the other key works")
    unseen = calls.call("GET", f"/v1/decisions?since={quote(began)}", key=other).said["decisions"]
    unread = calls.call("GET", first.headers["location"], key=other).said["decisions"]
    policy = calls.call("GET", "/v1/policy").said
    status = calls.call("GET", "/v1/status").said

    assert history.said["decisions"] == [first.said["decision"]]
    assert (nothing.status, nothing.said["decisions"], nothing.headers["retry-after"]) == (200, [], "1")
    outcomes = [(one["request_id"], one["outcome"]) for one in page.said["decisions"]]
    assert outcomes == [("r/1", "approved"), ("r2", "deferred")]
    assert [json.loads(one["data"]) for one in stream] == page.said["decisions"]
    assert [one["event"] for one in stream] == ["approved", "deferred"]
    assert [(one["request_id"], one["outcome"]) for one in later.said["decisions"]] == [("r2", "approved")]
    assert [json.loads(one["data"])["decision_id"] for one in again] == [
        page.said["decisions"][1]["decision_id"],
        later.said["decisions"][0]["decision_id"],
    ]
    assert (unseen, unread) == ([], [])
    assert (policy["policy"], policy["version"], status["ready"], status["keys"]) == ("test", 1, True, 2)
    assert site.workers[0].is_running


def test_a_webhook_gets_every_decision_in_order(
    make_site: MakeSite, kafka_bootstrap: str, valkey_url: str, tmp_path: Path
) -> None:
    """Signed, tried again until it is taken, also by a gateway that is started after one was killed."""
    site = make_site(kafka_bootstrap, valkey_url, partitions=2, clock="wall")
    site.publish(document(CAPPED))
    with receiving() as receiver:
        hook = {"name": "cards", "department": "cards", "url": receiver.url, "secret": SECRET}
        (tmp_path / "hooks.json").write_text(json.dumps({"webhooks": [hook]}))
        calls = Gateway(site, tmp_path, gateway_webhooks_file=tmp_path / "hooks.json")
        site.start()
        calls.wait_ready()
        for name in ("r1", "r2"):
            assert calls.post("/v1/requests", {**ASKED, "request_id": name}, Prefer="wait=20").status == 200
        wait_until(lambda: len(receiver.told()) == 2, "both were delivered")
        receiver.is_down = True
        calls.post("/v1/outcomes", {"customer_id": "c1", "request_id": "r1", "kind": "cancelled"})
        tried = receiver.attempts
        wait_until(lambda: receiver.attempts > tried, "it is tried")
        calls.process.kill()
        receiver.is_down = False
        calls.process.start_again()
        wait_until(lambda: len(receiver.told()) == 3, "what was not taken is delivered")
        calls.process.terminate()
        ended = calls.process.ended()

    assert receiver.told() == [("r1", "approved"), ("r2", "deferred"), ("r2", "approved")]
    assert (receiver.forged, ended) == ([], 0)


WRONG = {
    "/v1/requests/r1?customer=c1": "query-invalid: `customer`: there is no such parameter; did you mean `customer_id`?",
    "/v1/requests/r1?since=yesterday": "query-invalid: `since`: ",
    "/v1/decisions?after=nonsense": "cursor-invalid: give it as the gateway gave it",
    "/v1/decisions?after=0.999999999": "cursor-invalid: partition 0 has no such offset yet",
}


def test_a_wrong_query_has_a_clear_answer(standing: Gateway) -> None:
    """It names the parameter and the fix."""
    problems = [standing.call("GET", path).problem for path in WRONG]

    assert [said for said, begin in zip(problems, WRONG.values(), strict=True) if not said.startswith(begin)] == []


CHECKED = """
[checks]
# What a department's names or another clock forbid, no schema can say.
positive_data_acceptance.enabled = false

[[operations]]
# Nobody decides there, so a check may end with 504.
include-path = "/v1/check"
checks.not_a_server_error.enabled = false
"""


def test_schemathesis_finds_nothing(standing: Gateway, tmp_path: Path) -> None:
    """Whatever is sent by the document, right or wrong, is answered as the document says, and never with 500."""
    pytest.importorskip("schemathesis")
    config = tmp_path / "schemathesis.toml"
    config.write_text(CHECKED)
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config)),
        *("run", f"http://127.0.0.1:{standing.port}/openapi.json"),
        *("--header", f"Authorization: Bearer {standing.key}", "--max-examples", "8"),
        *("--phases", "examples,coverage,fuzzing", "--seed", "1", "--no-color", "--request-timeout", "20"),
        *("--exclude-path", "/v1/decisions"),
    ]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
    assert standing.process.metric("arbiter_gateway_refused_total", problem="internal") == 0


FreshKafka = Callable[..., KafkaServer]


def test_what_was_answered_with_2xx_is_never_lost(
    make_site: MakeSite, fresh_kafka: FreshKafka, valkey_url: str, tmp_path: Path
) -> None:
    """Killed after the answer: it is there. While Kafka is away, or killed before Kafka's word: there was no 2xx."""
    kafka = fresh_kafka()
    site = make_site(kafka.bootstrap, valkey_url, partitions=2, clock="wall")
    calls = Gateway(site, tmp_path, gateway_confirm_ms=1_500).wait_ready()

    answered = calls.post("/v1/requests", {**ASKED, "request_id": "answered"})
    calls.process.kill()
    calls.process.start_again()
    calls.wait_ready()
    kafka.pause()
    away = calls.post("/v1/requests", {**ASKED, "request_id": "away"})
    body = json.dumps({**ASKED, "request_id": "cut"}).encode()
    with socket.create_connection(("127.0.0.1", calls.port), timeout=10) as cut:
        cut.sendall(
            f"POST /v1/requests HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {calls.key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        wait_until(lambda: calls.process.metric("arbiter_gateway_calls_in_flight") == 1, "the call is under way")
        calls.process.kill()
        unanswered = cut.recv(1_000)
    kafka.resume()
    calls.process.start_again()
    calls.wait_ready()
    again = calls.post("/v1/requests", {**ASKED, "request_id": "cut"})

    assert (answered.status, away.status, unanswered, again.status) == (202, 503, b"", 202)
    assert away.headers["retry-after"] == "5"
    assert away.problem.startswith("kafka-away: Kafka did not confirm 1 of 1: request `away` of customer `c1`")
    found = [json.loads(entry.value or b"")["request_id"] for entry in on(site, REQUESTS)]
    assert {"answered", "cut"} <= set(found)
