"""``arbiter policy``: the commands of policy owners."""

from __future__ import annotations

import rich_click as click

from arbiter.cli.policy_check import check
from arbiter.cli.policy_diff import diff
from arbiter.cli.policy_life import activate, approve, cancel, publish, rollback
from arbiter.cli.policy_shadow import shadow
from arbiter.cli.policy_shadow_report import shadow_report
from arbiter.cli.policy_show import history, show
from arbiter.cli.policy_test import test


@click.group()
def policy() -> None:
    """Check, test, compare, publish, approve and activate contact policies."""


for _command in (check, test, diff, publish, approve, activate, rollback, cancel, shadow, shadow_report, history, show):
    policy.add_command(_command)
