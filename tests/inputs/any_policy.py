"""Any policy that may be written: every rule kind, every field of the document, in any combination."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec

from arbiter.policy.document import PolicyDocument
from arbiter.policy.kill_switches import Kill
from arbiter.policy.rules import KINDS as RULE_KINDS
from arbiter.policy.rules import kind_of
from arbiter.policy.ruleset import Policy
from arbiter.timing.instants import DAY_MS, HOUR_MS, MINUTE_MS, to_datetime

Written = dict[str, Any]

ZONES = (
    "Europe/Lisbon",
    "America/Sao_Paulo",
    "Africa/Cairo",
    "Asia/Kolkata",
    "Antarctica/Troll",
    "Australia/Lord_Howe",
)
CHANNELS = ("email", "sms", "phone", "mail")
CATEGORIES = ("promotional", "service", "regulatory")
EXEMPT = ("cap", "capacity", "quiet_hours", "blackout", "arbitration", "conflict", "holdout", "preference")
PRODUCTS = ("card", "loan")
SEGMENTS = ("private", "young")
KINDS = tuple(map(kind_of, RULE_KINDS))
LISTS = ("do_not_contact", "complaint", "moved")
OUTCOMES = ("bounced", "not_reached", "responded", "complained", "unsubscribed")
UNITS = ("hour", "day", "week", "month", "quarter", "year")
DAYS = ("mon", "weekdays", "weekend", "every day", "sat-mon", "holidays")
HOURS = ("21:00-09:00", "12:00-13:00", "00:00-24:00", "all day", "18:30-19:10", "02:00-03:00", "09:00-20:50")

SHAPE: dict[str, tuple[Any, ...]] = {
    "department": ("cards", "loans"),
    "campaign": ("gold", "spring"),
    "channel": CHANNELS,
    "category": CATEGORIES,
    "product": PRODUCTS,
    "partner": ("shop",),
}
WHO: dict[str, tuple[Any, ...]] = {
    "segment": SEGMENTS,
    "profile.kind": ("person", "firm"),
    "profile.balance": (10, 5000),
}
ASKED: dict[str, tuple[Any, ...]] = {
    "customer_id": ("c0", "c1"),
    "priority": (10.0, 90.0),
    "value": (2.0, 40.0),
    "propensity": (0.01, 0.5),
    "recallable": (True, False),
    "attributes.urgent": (True, "yes"),
}
NUMBERS = ("priority", "value", "propensity", "profile.balance")


class PolicyWriter:
    """Writes policies about the days around ``now_ms``, as ``random`` has it."""

    def __init__(self, random: Random, now_ms: int) -> None:
        self._random = random
        self._now_ms = now_ms

    def document(self) -> Written:
        """A whole policy."""
        pick, some = self._random.choice, self._some
        rules = [self._rule(kind, f"{kind}-{number}") for number, kind in enumerate(self._kinds())]
        written: Written = {
            "policy": "any",
            "owner": "contact-policy",
            "timezone": pick(ZONES),
            "permit": {
                "min": pick(("1m", "10m", "45m")),
                "max": {name: pick(("1h", "12h", "5d")) for name in CHANNELS},
            },
            "departments": {name: self._department(name) for name in SHAPE["department"]},
            "channels": {name: {"points": pick((0, 1, 2, 5)), "on_silence": pick(("count", "release"))}
                         for name in CHANNELS},
            "categories": {name: self._category(name) for name in CATEGORIES},
            "segments": {
                "private": {"owner": "desk", "when": {"profile.balance": {"at_least": 1000}}},
                "young": {"owner": "desk", "when": {"profile.kind": "person"}},
            },
            "holidays": {"bank": [self._day(), "12-25"], "local": [f"{self._day()}..{self._day(5)}"]},
            "rules": rules,
        }  # fmt: skip
        exceptions = [self._exception(number, rules) for number in range(pick((0, 0, 1, 2)))]
        optional: Written = {
            "unknown_customer_zone": pick(("every_candidate", "business")),
            "candidate_zones": some(ZONES),
            "history": pick(("60d", "400d")),
            "reserve_ahead": pick(("1h", "48h", "10d")),
            "disclose": pick(("department", "campaign")),
            "score": pick(("priority", "priority * propensity * value")),
            "score_defaults": {"propensity": 0.2, "value": 3.0},
            "recall": {"margin": pick(("10m", "2h")), "factor": pick((1.0, 1.5))},
            "waiting_max": pick((1, 3, 50)),
            "exceptions": [one for one in exceptions if one is not None],
        }
        return {**written, **self._few(optional)}

    def kills(self) -> list[Kill]:
        """Kill switches that are in force beside it."""
        targets = (("all", ""), ("channel", "sms"), ("campaign", "gold"), ("department", "loans"))
        chosen = [self._random.choice(targets) for _ in range(self._random.choice((0, 0, 0, 1, 2)))]
        return [
            Kill(number, target, name, self._then(4 * DAY_MS), self._random.random() < 0.5, "ops", "a test")  # type: ignore[arg-type]
            for number, (target, name) in enumerate(chosen, 1)
        ]

    # Parts

    def _kinds(self) -> list[str]:
        """A few rules of any kind, caps most often, in any order."""
        return [
            self._random.choice((*KINDS, "cap", "cap", "cap", "quiet_hours")) for _ in range(self._random.randint(1, 9))
        ]

    def _rule(self, kind: str, name: str) -> Written:
        effective = self._few({"from": self._moment(-3), "until": self._moment(4)})
        often = 0.9 if kind in ("cell", "holdout", "blackout", "suppression", "capacity") else 0.5
        common: Written = {
            "when": self._when(SHAPE | WHO | ASKED) if self._random.random() < often else {},
            "mode": self._random.choice(("enforce", "enforce", "shadow", "shadow", "off")),
            "effective": effective,
        }
        kept = {name: value for name, value in self._few(common, 0.7).items() if value}
        return {
            "id": name,
            "kind": kind,
            "owner": f"{name}-owner",
            "why": "a test",
            **kept,
            **getattr(self, f"_{kind}")(),
        }

    def _consent(self) -> Written:
        return {"basis": self._random.choice(("opt_in", "opt_out", "opt_out"))}

    def _suppression(self) -> Written:
        more = {"scope": self._random.choice(("customer", "party")), "cool_down": "2d"}
        return {"lists": self._some(LISTS), **self._few(more)}

    def _quiet_hours(self) -> Written:
        hours = [self._random.choice((*HOURS, self._some(HOURS))) for _ in range(2)]
        closed = dict(zip(self._random.sample(DAYS, 2), hours, strict=True))
        return {"closed": closed, "holidays": self._some(("bank", "local"))}

    def _blackout(self) -> Written:
        freeze = {"from": self._moment(-2), "until": self._moment(3)}
        dates = [self._day(), self._day()[5:], f"{self._day()[5:]}..{self._day(3)[5:]}"]
        found = {"dates": self._some(dates), "holidays": ["bank"]}
        return {"dates": dates[:1], **self._few(found), **(freeze if self._random.random() < 0.4 else {})}

    def _cap(self) -> Written:
        pick = self._random.choice
        limit = pick((0, 1, 1, 2, 2, 2, 3, 3, 5, 8))
        fields = [field for field in ("department", "campaign", "category", "channel", "product") if pick((0, 0, 1))]
        written: Written = {"per": [pick(("party", "customer")), *fields], "limit": limit, "window": self._window()}
        more: Written = {
            "unit": pick(("contacts", "points")),
            "counts": self._when(SHAPE | WHO) if pick((0, 1)) else {},
            "limit_by": {"segment": {name: pick((0, 1, 2, 3, 9)) for name in self._some(SEGMENTS)}},
            "keep": {"slots": pick((1, max(limit - 1, 1), max(limit, 1))), "for": self._when(SHAPE | WHO | ASKED)},
        }
        return written | self._few(more)

    def _capacity(self) -> Written:
        unit = self._random.choice(UNITS)
        limit = self._random.choice((0, 1, 1, 3, 3, 9))
        hourly = {"hourly": 1} if limit > 1 and unit != "hour" and self._random.random() < 0.4 else {}
        return {"limit": limit, "window": f"calendar {unit}", **hourly}

    def _floor(self) -> Written:
        more = self._few({"ceiling": self._random.choice((1.0, 3.0))})
        return {"reach": self._random.choice((1, 5)), "from": self._moment(-3), "until": self._moment(4), **more}

    def _cell(self) -> Written:
        return {"size": self._random.choice((1, 2, 3)), "deadline": self._moment(4)}

    def _conflict(self) -> Written:
        after = self._when(SHAPE | WHO)
        if self._random.random() < 0.5:
            after["outcome"] = self._random.choice((*OUTCOMES, list(OUTCOMES)))
        more = self._few({"per": self._random.choice(("party", "customer"))})
        return {"after": after, "within": self._random.choice(("20h", "3d", "30d")), **more}

    def _arbitration(self) -> Written:
        return {"hold": self._random.choice(("5m", "2h", "1d"))}

    def _holdout(self) -> Written:
        return {"share": self._random.choice((0.2, 0.5)), "salt": self._random.choice(("s", "t"))}

    def _window(self) -> str:
        rolling = ("rolling 1h", "rolling 1d", "rolling 36h", "rolling 7d", "rolling 60d")
        calendar = [f"calendar {unit}" for unit in UNITS[:4]]
        return self._random.choice((*rolling, *calendar))

    def _department(self, name: str) -> Written:
        more: Written = {"max_priority": 70, "max_value": 30}
        if self._random.random() < 0.1:
            more["channels"] = self._some(CHANNELS)
        categories = self._some(CATEGORIES) if self._random.random() < 0.1 else CATEGORIES
        return {"owner": f"{name}-desk", "categories": categories, **self._few(more)}

    def _category(self, name: str) -> Written:
        purpose = {"promotional": "marketing", "service": "service", "regulatory": "legal"}[name]
        exempt = {"exempt": self._some(EXEMPT)} if self._random.random() < 0.3 else {}
        return {"purpose": purpose, **exempt}

    def _exception(self, number: int, rules: list[Written]) -> Written | None:
        names = [rule["id"] for rule in rules if rule["kind"] not in ("consent", "suppression", "floor")]
        if not names:
            return None
        more = self._few({"when": self._when(SHAPE | WHO | ASKED), "from": self._moment(-2)})
        fixed = {"id": f"relief-{number}", "rules": self._some(names), "approver": "head", "reason": "a test"}
        return {**fixed, **more, "until": self._moment(4)}

    def _when(self, fields: dict[str, tuple[Any, ...]]) -> Written:
        names = self._random.sample(sorted(fields), self._random.choice((1, 1, 1, 2)))
        return {name: self._condition(name, fields[name]) for name in names}

    def _condition(self, name: str, values: tuple[Any, ...]) -> Any:
        pick = self._random.choice
        some = list(dict.fromkeys([pick(values), pick(values)]))
        tests = [pick(values), some, {"not": pick(values)}, {"not": some}]
        if name in NUMBERS:
            tests += [{"at_least": values[0]}, {"below": values[-1]}, {"at_least": values[0], "below": values[-1]}]
        return pick(tests)

    # What is drawn from

    def _few(self, fields: Written, share: float = 0.5) -> Written:
        """Some of these fields; the rest is left out."""
        return {name: value for name, value in fields.items() if self._random.random() < share}

    def _some(self, values: Any) -> list[Any]:
        """At least one of these, in any order."""
        return self._random.sample(list(values), self._random.randint(1, len(values)))

    def _then(self, span_ms: int) -> int:
        """An instant up to so far from now, on a whole minute."""
        return self._now_ms + self._random.randint(1, span_ms // MINUTE_MS) * MINUTE_MS

    def _moment(self, days: int) -> str:
        """Up to so many days before or after now: a date, a local time, or one with an offset."""
        if self._random.random() < 0.05:
            return "9999-12-31" if days > 0 else "0001-01-01"
        hours = self._random.randint(1, abs(days) * 24) * (1 if days > 0 else -1)
        then = to_datetime(self._now_ms + hours * HOUR_MS)
        if days > 0 and hours < 24:
            return then.isoformat()
        return self._random.choice((f"{then:%Y-%m-%d}", f"{then:%Y-%m-%d %H:%M}", then.isoformat()))

    def _day(self, after: int = 0) -> str:
        return f"{to_datetime(self._now_ms + (self._random.randint(0, 4) + after) * DAY_MS):%Y-%m-%d}"


def compiled(written: Written, kills: list[Kill] | None = None) -> Policy:
    """A policy to judge by. It is not held against the checks: some of these policies make little sense."""
    return Policy(msgspec.json.decode(msgspec.json.encode(written), type=PolicyDocument), 1, "0" * 64, kills or ())
