"""``arbiter demo`` as a person runs it: embedded servers, a real worker, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import monotonic, sleep

import msgspec
import pytest

from arbiter.demo import bank, customers, generate, run
from arbiter.demo.cli import DEFAULT_SEED
from arbiter.demo.feed import POISON
from arbiter.engine.input_record import InputRecord, Message
from arbiter.engine.party import Party
from arbiter.engine.state import Context
from arbiter.ledger.capacity import WholeStock
from arbiter.ledger.model import Ledger
from arbiter.messages import PROFILES, REQUESTS, ContactRequest, CustomerChange, Profile
from arbiter.policy.ruleset import load
from arbiter.policy_check.files import document_bytes, read_policy
from arbiter.timing.instants import FAR_MS, to_ms

DEMO = (sys.executable, "-m", "arbiter", "demo")
REQUESTS_SHORT = 3_000
GONE_SECONDS_MAX = 10
START_SECONDS_MAX = 60

# A process started in a shell's background ignores SIGINT, and its children inherit that.
INTERRUPTIBLE = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from arbiter.cli import main
main(["demo"])
"""


# Between partitions nothing has an order, and outcomes come when they come: without both a run can be foretold.
ALONE = f"""
from arbiter.demo import run
run.households = lambda *_: {{}}
run.outcome_of = lambda _: None
from arbiter.cli import main
main(["demo", "--json", "--requests", "{REQUESTS_SHORT}"])
"""


def run_demo(command: Sequence[str], folder: Path) -> dict[str, int]:
    """The account that a demonstration ends with."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    totals: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return totals


def test_the_account_adds_up(tmp_path: Path) -> None:
    """Whatever the order between households, outcomes and requests: all is answered, and nothing is exceeded."""
    totals = run_demo([*DEMO, "--json", "--requests", str(REQUESTS_SHORT)], tmp_path)

    outcomes = [totals.pop(outcome) for outcome in ("approved", "deferred", "rejected")]
    assert (REQUESTS_SHORT, 0) == (sum(outcomes), outcomes[1])
    assert totals == {
        "published": REQUESTS_SHORT + len(POISON),
        "decided": REQUESTS_SHORT,
        "dead_lettered": len(POISON),
        "lost": 0,
        "over_cap": 0,
    }


def test_the_worker_answers_as_the_core_does_alone(tmp_path: Path) -> None:
    """The outcomes are those of the pure core fed one record at a time."""
    totals = run_demo([sys.executable, "-c", ALONE], tmp_path)

    expected = {"published": REQUESTS_SHORT + len(POISON), "decided": REQUESTS_SHORT, "dead_lettered": len(POISON)}
    assert totals == {**expected, "lost": 0, "over_cap": 0, **alone(REQUESTS_SHORT)}


def alone(count: int) -> dict[str, int]:
    """How the first requests end when the core decides them, in this process, one after the other."""
    document, _ = read_policy(run.policy_folder())
    assert document is not None
    policy = load(document_bytes(document), 1, "digest")
    clients = bank.clients()
    requests = generate.requests(clients, DEFAULT_SEED)[:count]
    parties: dict[str, Party] = defaultdict(lambda: Party(Ledger()))
    context = Context(policy, 1, WholeStock(), is_event_time=True)
    for fact in customers.facts(clients, DEFAULT_SEED, {}):
        kind = Profile if fact.topic == PROFILES else CustomerChange
        message = msgspec.json.decode(fact.value, type=kind)
        parties[fact.customer_id].apply(input_record(message, 0), 0, context)
    for request in requests:
        asked = msgspec.json.decode(request.value, type=ContactRequest)
        at_ms = to_ms(asked.requested_at) if asked.requested_at else 0
        parties[request.customer_id].apply(input_record(asked, at_ms), at_ms, context)
    for party in parties.values():
        party.apply(None, FAR_MS, context)
    outcomes = Counter[str](known.outcome for party in parties.values() for known in party.answers.values())
    return {"approved": 0, "deferred": 0, "rejected": 0, **outcomes}


def input_record(message: Message, now_ms: int) -> InputRecord:
    """A record, received then."""
    return InputRecord(message, (REQUESTS, 0, 0), now_ms, msgspec.json.encode(message))


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs /proc to see which processes are left")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demonstration_leaves_nothing_behind(number: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C in the middle stops worker and servers, and removes their files."""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", INTERRUPTIBLE]
    demo = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        end = monotonic() + START_SECONDS_MAX
        while not any("worker" in line for line in command_lines(demo.pid)) and monotonic() < end:
            assert demo.poll() is None, demo.communicate()[1]
            sleep(0.05)
        started = set(children(demo.pid))
        demo.send_signal(number)
        _, errors = demo.communicate()
    finally:
        demo.kill()
        demo.wait()

    assert (demo.returncode, "Traceback" in errors) == (1, False)
    # A process that was told to end may take a moment on a busy machine.
    end = monotonic() + GONE_SECONDS_MAX
    while any(Path(f"/proc/{pid}").exists() for pid in started) and monotonic() < end:
        sleep(0.05)
    assert [pid for pid in started if Path(f"/proc/{pid}").exists()] == []
    assert list(tmp_path.iterdir()) == []


def children(pid: int) -> list[int]:
    """The processes that a process started, in any of its threads."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(child) for child in task.read_text().split()]
    return found


def command_lines(pid: int) -> Iterator[list[str]]:
    """The words with which the children of a process were started."""
    for child in children(pid):
        yield Path(f"/proc/{child}/cmdline").read_bytes().decode().split("\0")
