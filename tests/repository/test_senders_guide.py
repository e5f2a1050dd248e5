"""The senders' guide: its table, its picture, its links, and that every code has a next step."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from arbiter.dev.run import SAMPLE
from arbiter.generated.life_picture import picture
from arbiter.messages.next_steps import ANSWERED, DECIDED
from arbiter.messages.reason_codes import ANSWERED as ANSWERED_MEANINGS
from arbiter.policy.rules import MEANINGS
from tests.harness.senders import SENDERS, renewed
from tests.servers.processes import ROOT

LINK = re.compile(r"(?:\]\(|src=\")(?!https?:)([^)#\s\"]+)")


def test_the_table_of_codes_is_current() -> None:
    """`python -m tests.harness.senders` writes it anew."""
    assert renewed(SENDERS.read_text()) == SENDERS.read_text()


def test_every_code_has_a_next_step() -> None:
    """Codes of decisions and of answers to dead letters, and no others."""
    assert (MEANINGS.keys(), ANSWERED_MEANINGS.keys()) == (DECIDED.keys(), ANSWERED.keys())


def test_its_links_and_pictures_are_there() -> None:
    """Each names a file of the repository."""
    targets = LINK.findall(SENDERS.read_text())

    assert len(targets) > 5
    assert [] == [target for target in targets if not (SENDERS.parent / target).exists()]


def test_the_picture_can_be_read_on_a_telephone() -> None:
    """It is an SVG of 400 units whose texts have at least 12, and stay inside."""
    root = ET.fromstring(picture())  # noqa: S314 - it is our own
    texts = list(root.iter("{http://www.w3.org/2000/svg}text"))
    _, _, width, height = map(float, root.attrib["viewBox"].split())

    assert (400, True) == (width, len(texts) > 20)
    for text in texts:
        reach = len(text.text or "") * float(text.attrib["font-size"]) * 0.56
        begin = float(text.attrib["x"]) - (reach / 2 if text.attrib["text-anchor"] == "middle" else 0)
        assert float(text.attrib["font-size"]) >= 12
        assert (begin >= 0, begin + reach <= width, float(text.attrib["y"]) < height) == (True, True, True), text.text


def test_the_packaged_policy_is_the_sample() -> None:
    """An installed package brings the small firm's policy along."""
    sample = ROOT / "deploy" / "policies" / "small-firm" / "policy.yaml"

    assert sample.read_bytes() == (SAMPLE / "policy.yaml").read_bytes()
