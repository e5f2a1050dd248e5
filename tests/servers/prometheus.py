"""A real Prometheus as a process of the tests, what it answers to queries, and its tool that checks and tests rules."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode

from tests.servers.processes import Server, Unavailable

JOB = "arbiter-worker"
"""The job of the workers, as in deploy/prometheus/prometheus.yml."""


class QueryRefused(Exception):
    """Prometheus refused a request; the text has the expression and the reason."""


@dataclass(frozen=True)
class Series:
    """One series of an answer: its labels, and its values with their times in seconds."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]

    @property
    def value(self) -> float:
        """The last value."""
        return self.points[-1][1]


class PrometheusServer(Server):
    """A Prometheus that scrapes what :meth:`scrape` names, and evaluates the rules of ``rule_files``.

    It does both once a second, unless ``interval`` says otherwise.
    """

    def __init__(self, directory: Path, *, interval: str = "1s", rule_files: Iterable[Path] = ()) -> None:
        """:class:`Unavailable` if there is no Prometheus here."""
        self._binary = prometheus()
        super().__init__(directory)
        self._targets = directory / "targets.json"
        self._config = directory / "prometheus.json"
        self._interval = interval
        self._rule_files = [str(path) for path in rule_files]
        self.scrape()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        """See :meth:`Server.command`."""
        every = {"scrape_interval": self._interval, "scrape_timeout": self._interval}
        found = {"files": [str(self._targets)], "refresh_interval": "1s"}
        settings = {
            "global": {**every, "evaluation_interval": self._interval},
            "rule_files": self._rule_files,
            "scrape_configs": [{"job_name": JOB, "file_sd_configs": [found]}],
        }
        # Every JSON document is YAML.
        self._config.write_text(json.dumps(settings))
        return [
            str(self._binary),
            f"--config.file={self._config}",
            f"--storage.tsdb.path={self.directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--log.level=warn",
        ]

    def answers(self) -> bool:
        """Whether it says that it is ready."""
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=1) as reply:
            return bool(reply.status == 200)
        return False

    def scrape(self, *addresses: str) -> None:
        """From now on these ``host:port`` are scraped, and no others."""
        written = self._targets.with_suffix(".new")
        written.write_text(json.dumps([{"targets": list(addresses)}]))
        # In one step: Prometheus must not read half a file.
        written.rename(self._targets)

    def query(self, expression: str, at: float | None = None) -> list[Series]:
        """The answer to an expression, now or at a time in seconds; a scalar is a series without labels."""
        when = {} if at is None else {"time": f"{at:.3f}"}
        found = self.get("query", query=expression, **when)
        if found["resultType"] == "scalar":
            return [Series({}, _points([found["result"]]))]
        return [Series(one["metric"], _points([one["value"]])) for one in found["result"]]

    def query_range(self, expression: str, begin: float, end: float, step: float) -> list[Series]:
        """The answers to an expression from ``begin`` to ``end``, every ``step`` seconds."""
        span = {"start": f"{begin:.3f}", "end": f"{end:.3f}", "step": f"{step:g}"}
        found = self.get("query_range", query=expression, **span)
        return [Series(one["metric"], _points(one["values"])) for one in found["result"]]

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts that are pending or firing now, with their ``labels``, ``annotations`` and ``state``."""
        found: list[dict[str, Any]] = self.get("alerts")["alerts"]
        return found

    def firing(self) -> set[str]:
        """The names of the alerts that fire now."""
        return {alert["labels"]["alertname"] for alert in self.alerts() if alert["state"] == "firing"}

    def get(self, path: str, **parameters: str) -> Any:
        """The data that a path under ``/api/v1/`` answers."""
        asked = f"/api/v1/{path}?{urlencode(parameters)}"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{asked}", timeout=30) as reply:
                return json.load(reply)["data"]
        except HTTPError as refused:
            said = json.load(refused).get("error", refused.reason)
            raise QueryRefused(f"{parameters.get('query', path)}: {said}") from refused


def _points(pairs: Iterable[tuple[float, str]]) -> tuple[tuple[float, float], ...]:
    return tuple((float(when), float(value)) for when, value in pairs)


def prometheus() -> Path:
    """The server's program; :class:`Unavailable` if there is none."""
    return _program("prometheus")


def promtool() -> Path:
    """The program that checks configurations and tests rules; :class:`Unavailable` if there is none."""
    return _program("promtool")


def _program(name: str) -> Path:
    found = shutil.which(name)
    if found is None:
        raise Unavailable(f"Prometheus: no `{name}` in PATH; install the package prometheus")
    return Path(found)
