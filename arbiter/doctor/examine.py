"""Runs all checks: whether the servers answer, then what measures time, then all others at a time; each bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from confluent_kafka import KafkaException

from arbiter.doctor import clock_checks, kafka_checks, policy_checks, redis_checks, worker_checks
from arbiter.doctor.registry import CHECKS, KAFKA, REDIS, Check, Finding, Result, State, fail, in_order
from arbiter.doctor.subject import Subject
from arbiter.settings import Settings
from arbiter.state.codec import CodecError
from arbiter.state.store import StateDamaged, StoreUnavailable
from arbiter.worker.kafka.topics import KafkaAway, TopicsError

MODULES: Final = (clock_checks, kafka_checks, policy_checks, redis_checks, worker_checks)
"""They are in the registry once they are imported."""

CHECK_SECONDS_MAX: Final = 12.0

_AGAIN: Final = "run `arbiter doctor` again; if it stays so, look at the server's log"


async def examine(settings: Settings) -> list[Result]:
    """Everything that was found, in the order in which it is told. Takes 40 seconds at most."""
    subject = Subject(settings)
    try:
        results = await _all([CHECKS[KAFKA], CHECKS[REDIS]], subject)
        away = [name for name, result in results.items() if result.state is State.FAIL]
        rest = [check for name, check in CHECKS.items() if name not in results]
        results |= {check.name: _skipped(check, away) for check in rest if set(check.needs) & set(away)}
        asked = [check for check in rest if check.name not in results]
        # What measures time is not to wait for what others ask.
        for is_timed in (True, False):
            results |= await _all([check for check in asked if check.is_timed is is_timed], subject)
    finally:
        await subject.close()
    return in_order(results)


async def _all(checks: Sequence[Check], subject: Subject) -> dict[str, Result]:
    found = await asyncio.gather(*(_bounded(check, subject) for check in checks))
    return {
        check.name: Result(check.name, finding.state, finding.text, finding.fix)
        for check, finding in zip(checks, found, strict=True)
    }


async def _bounded(check: Check, subject: Subject) -> Finding:
    try:
        return await asyncio.wait_for(check.run(subject), CHECK_SECONDS_MAX)
    except TimeoutError:
        return fail(f"no answer within {CHECK_SECONDS_MAX:g} s", _AGAIN)
    except (KafkaAway, TopicsError, StoreUnavailable, StateDamaged, CodecError, KafkaException) as error:
        return fail(str(error), _AGAIN)
    except Exception as error:  # noqa: BLE001 - a check with a defect must not hide what the others find
        return fail(f"the check itself failed: {error!r}", "report it as a defect")


def _skipped(check: Check, away: Sequence[str]) -> Result:
    missing = " and ".join(name for name in away if name in check.needs)
    return Result(check.name, State.SKIPPED, f"not looked at: {missing} cannot be asked")
