"""Settings: every mistake at once, each with its name and what was expected; the page is the table."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from arbiter.settings import Settings, SettingsError, load, markdown, unknown, variable

NEEDED = {"ARBITER_KAFKA": "127.0.0.1:9092", "ARBITER_REDIS": "redis://127.0.0.1:6379/0"}


def errors_of(**given: str) -> list[str]:
    """The lines that ``load`` complains with."""
    with pytest.raises(SettingsError) as raised:
        load({**NEEDED, **given})
    return str(raised.value).splitlines()


def test_two_settings_are_enough() -> None:
    """Everything but where Kafka and Redis are has a default."""
    settings = load(NEEDED)

    assert settings == Settings(kafka="127.0.0.1:9092", redis="redis://127.0.0.1:6379/0")
    assert settings.clock == "wall"


def test_values_are_read_in_their_types() -> None:
    """Numbers, truth values and choices come as text."""
    settings = load(
        {**NEEDED, "ARBITER_PARTITIONS": "8", "ARBITER_ACCEPT_LOST_STATE": "true", "ARBITER_CLOCK": "event"}
    )

    assert (settings.partitions, settings.accept_lost_state, settings.clock) == (8, True, "event")


def test_blank_means_the_default() -> None:
    """A variable that is set to nothing, as compose files do, is not set."""
    assert load({**NEEDED, "ARBITER_GROUP": " "}).group == "arbiter"


def test_all_mistakes_are_told_at_once() -> None:
    """A missing and two malformed settings are three lines, each with its variable and the expected form."""
    with pytest.raises(SettingsError) as raised:
        load({"ARBITER_KAFKA": "nowhere", "ARBITER_PARTITIONS": "many"})

    assert str(raised.value).splitlines() == [
        "ARBITER_KAFKA: expected host:port[,host:port…], found `nowhere`",
        "ARBITER_REDIS: missing; expected redis://[user:password@]host:port[/db], rediss://… for TLS",
        "ARBITER_PARTITIONS: expected a whole number, 1 to 1024, found `many`",
    ]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("ARBITER_CLOCK", "sundial", "wall | event"),
        ("ARBITER_HTTP", "8080", "host:port"),
        ("ARBITER_ACCEPT_LOST_STATE", "perhaps", "true | false"),
        ("ARBITER_CACHE_BYTES", "-1", "a whole number, 0 or more"),
        ("ARBITER_GROUP", "two words", "a name without spaces"),
    ],
)
def test_a_malformed_setting_is_told_with_its_form(name: str, value: str, expected: str) -> None:
    """Whatever its type."""
    assert errors_of(**{name: value}) == [f"{name}: expected {expected}, found `{value}`"]


def test_a_password_is_not_repeated_in_an_error() -> None:
    """Neither that of a URL nor one of its own."""
    assert "geheim" not in "".join(errors_of(ARBITER_REDIS="http://me:geheim@host"))


def test_settings_that_contradict_each_other_are_refused() -> None:
    """SASL needs a user and a password, and a heartbeat must be much shorter than the time-out."""
    errors = errors_of(ARBITER_KAFKA_SECURITY_PROTOCOL="SASL_SSL", ARBITER_HEARTBEAT_INTERVAL_MS="14000")

    assert [line.partition(":")[0] for line in errors] == [
        "ARBITER_HEARTBEAT_INTERVAL_MS",
        "ARBITER_KAFKA_USERNAME",
        "ARBITER_KAFKA_PASSWORD",
    ]


def test_a_certificate_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """Before anything tries to connect with it."""
    missing = tmp_path / "ca.pem"

    assert errors_of(ARBITER_KAFKA_CA_FILE=str(missing)) == [
        f"ARBITER_KAFKA_CA_FILE: expected a readable file, found none at `{missing}`"
    ]


def test_a_slip_of_the_pen_is_noticed() -> None:
    """An unknown variable is told with its neighbour; what Kubernetes sets is left alone."""
    given = {**NEEDED, "ARBITER_PARTITION": "8", "ARBITER_SERVICE_HOST": "10.0.0.1", "ARBITER_PORT_8080_TCP": "x"}

    assert unknown(given) == ["ARBITER_PARTITION is no setting; did you mean ARBITER_PARTITIONS?"]


def test_topics_carry_the_prefix() -> None:
    """Two installations can share a Kafka."""
    assert load({**NEEDED, "ARBITER_TOPIC_PREFIX": "test."}).topic("contact.requests.v1") == "test.contact.requests.v1"


def test_the_page_is_what_the_table_says() -> None:
    """``docs/settings.md`` is generated, and has a line for every field."""
    page = Path(__file__).resolve().parents[2] / "docs" / "settings.md"

    assert page.read_text() == markdown()
    assert all(f"`{variable(field.name)}`" in markdown() for field in msgspec.structs.fields(Settings))
