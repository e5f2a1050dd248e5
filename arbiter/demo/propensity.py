"""The chance that an offer succeeds, learnt from the results of earlier months only.

It is a rate per result of the last campaign and number of earlier calls, times how the same month of earlier years did.
A rate from few clients is drawn towards the overall one (additive smoothing).
"""

from __future__ import annotations

from collections import Counter

from arbiter.demo.bank import Client

GROUP_WEIGHT = 50
SEASON_WEIGHT = 500
LEAST, MOST = 0.001, 0.95

Group = tuple[str, int]


class Propensity:
    """Rates as they were known at the beginning of each month."""

    def __init__(self, clients: list[Client]) -> None:
        self._by_month: dict[int, tuple[dict[Group, float], float, float]] = {}
        asked: Counter[Group | int | str] = Counter()
        bought: Counter[Group | int | str] = Counter()
        month = clients[0].month
        for client in clients:
            while month < client.month:
                month += 1
                self._by_month[month] = _rates(asked, bought, month)
            for key in (_group(client), client.month % 12, "all"):
                asked[key] += 1
                bought[key] += client.bought
        self._last = month

    def of(self, client: Client, month: int) -> float | None:
        """The chance in ``month`` (see ``Client.month``); ``None`` before there is any result to learn from."""
        known = self._by_month.get(min(month, self._last))
        if known is None:
            return None
        rates, overall, season = known
        chance = rates.get(_group(client), overall) * season
        return round(min(max(chance, LEAST), MOST), 4)


def _group(client: Client) -> Group:
    return client.previous_result, min(client.previous, 3)


def _rates(
    asked: Counter[Group | int | str], bought: Counter[Group | int | str], month: int
) -> tuple[dict[Group, float], float, float]:
    """(rate by group, overall rate, factor of the month of the year) from what was counted so far."""
    overall = bought["all"] / asked["all"]
    rates = {
        key: (bought[key] + GROUP_WEIGHT * overall) / (count + GROUP_WEIGHT)
        for key, count in asked.items()
        if isinstance(key, tuple)
    }
    season = month % 12
    usual = (bought[season] + SEASON_WEIGHT * overall) / (asked[season] + SEASON_WEIGHT)
    return rates, overall, usual / overall if overall else 1.0
