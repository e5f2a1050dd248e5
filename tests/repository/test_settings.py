"""Settings: every mistake at once, each with its name and what was expected; the page is the table."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from arbiter.addresses import redis_server
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
    settings = load({**NEEDED, "ARBITER_PARTITIONS": "8", "ARBITER_ACTIVATE_ALONE": "true", "ARBITER_CLOCK": "event"})

    assert (settings.partitions, settings.activate_alone, settings.clock) == (8, True, "event")


def test_blank_means_the_default() -> None:
    """A variable that is set to nothing, as compose files do, is not set."""
    assert load({**NEEDED, "ARBITER_GROUP": " "}).group == "arbiter"


def test_all_mistakes_are_told_at_once() -> None:
    """A missing and two malformed settings are three lines, each with its variable and the expected form."""
    with pytest.raises(SettingsError) as raised:
        load({"ARBITER_KAFKA": "nowhere", "ARBITER_PARTITIONS": "many"})

    assert str(raised.value).splitlines() == [
        "ARBITER_KAFKA: expected host:port[,host:port…], found no port",
        "ARBITER_REDIS: missing; expected redis://[user:password@]host:port[/db], rediss://… for TLS",
        "ARBITER_PARTITIONS: expected a whole number, 1 to 1024, found `many`",
    ]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("ARBITER_CLOCK", "sundial", "wall | event"),
        ("ARBITER_HTTP", "8080", "host:port"),
        ("ARBITER_ACTIVATE_ALONE", "perhaps", "true | false"),
        ("ARBITER_CACHE_BYTES", "-1", "a whole number, 0 or more"),
        ("ARBITER_GROUP", "two words", "a name without spaces"),
    ],
)
def test_a_malformed_setting_is_told_with_its_form(name: str, value: str, expected: str) -> None:
    """Whatever its type."""
    assert errors_of(**{name: value}) == [f"{name}: expected {expected}, found `{value}`"]


@pytest.mark.parametrize("value", ["true", "True", "1", "yes", "3f9c1a2", "3f9c1a2b;0d1e2f3a"])
def test_a_loss_is_accepted_by_its_id_only(value: str) -> None:
    """What would accept whatever comes is refused, and the message says what is wanted."""
    (error,) = errors_of(ARBITER_ACCEPT_LOST_STATE=value)

    assert error.startswith("ARBITER_ACCEPT_LOST_STATE: expected the id that the worker says for this loss")
    assert load({**NEEDED, "ARBITER_ACCEPT_LOST_STATE": "3f9c1a2b,0d1e2f3a"}).accept_lost_state == "3f9c1a2b,0d1e2f3a"


HIDDEN = "geheim"
REDIS_SLIPS = {
    "a scheme that is none": "http://me:{}@host:6379",
    "no scheme": "me:{}@host:6379/0",
    "no scheme, no user": ":{}@host",
    "only the password": "{}",
    "one slash": "redis:/me:{}@host:6379",
    "a number sign": "redis://me:{}#x@host:6379/0",
    "a number sign behind digits": "redis://me:12#{}@host:6379/0",
    "a slash": "redis://me:{}/x@host:6379/0",
    "a slash behind digits": "redis://me:12/{}@host:6379/0",
    "a question mark": "redis://me:{}?x@host:6379/0",
    "a question mark behind digits": "redis://me:12?{}@host:6379/0",
    "a password without a host": "redis://me:{}",
    "a password as the database": "redis://host:6379/{}",
    "a password as an option": "redis://host:6379/0?{}",
    "an option that is none": "redis://host:6379/0?pass={}",
    "an option of TLS without TLS": "redis://host:6379/0?ssl_keyfile={}",
    "a database that is none": "redis://host:6379?db={}",
    "a fragment": "redis://host:6379/0#{}",
    "brackets": "redis://me:[{}@host:6379/0",
    "letters that become others": "redis://me:{}\u2100@host:6379/0",
    "a space": "redis://me:{} x@ho st:6379/0",
    "a port that is none": "redis://me:{}@host:70000/0",
}


@pytest.mark.parametrize("value", REDIS_SLIPS.values(), ids=REDIS_SLIPS)
def test_no_part_of_a_redis_address_is_repeated(value: str) -> None:
    """Whatever is wrong with it, the error names the fault and the fix, and neither password nor user."""
    (line,) = errors_of(ARBITER_REDIS=value.format(HIDDEN))

    assert line.startswith("ARBITER_REDIS: expected redis://[user:password@]host:port[/db], rediss://… for TLS, found ")
    assert HIDDEN not in line
    assert "12" not in line.replace("127.0.0.1", "")
    assert "host:6379" not in line


@pytest.mark.parametrize(
    "value",
    [
        f"me:{HIDDEN}@host:9092",
        f"SASL_SSL://me:{HIDDEN}@host:9092",
        f"host:9092,{HIDDEN}",
        f"{HIDDEN}",
        f"h:1,{HIDDEN}:x",
    ],
)
def test_no_part_of_a_kafka_address_is_repeated(value: str) -> None:
    """Credentials in it have variables of their own, which the error names."""
    (line,) = errors_of(ARBITER_KAFKA=value)

    assert HIDDEN not in line
    assert line.startswith("ARBITER_KAFKA: expected host:port[,host:port…], found ")
    assert ("ARBITER_KAFKA_PASSWORD" in line) == ("@" in value and "://" not in value)


@pytest.mark.parametrize(
    "value",
    [
        "redis://h", "redis://h:1", "redis://h:6379/0", "rediss://u:p@h:6379/15", "redis://:p%40%23%2F@h", "redis://u:p@ss@h",
        "redis://[::1]:6379/0", "redis://:p@[fe80::1]", "unix:///run/valkey.sock", "unix:///run/valkey.sock?db=1&password=x",
        "rediss://h:1/0?ssl_cert_reqs=required&client_name=a", "redis://my_host-1.example:6379",
    ],
)  # fmt: skip
def test_redis_addresses_that_are_right(value: str) -> None:
    """With and without user, database, options; over IPv6 and a socket."""
    assert load({**NEEDED, "ARBITER_REDIS": value}).redis == value


@pytest.mark.parametrize("value", ["h:9092", "a.b-c_d:1,10.0.0.1:65535", "[::1]:9092"])
def test_kafka_addresses_that_are_right(value: str) -> None:
    """One broker or several."""
    assert load({**NEEDED, "ARBITER_KAFKA": value}).kafka == value


@pytest.mark.parametrize("name", ["ARBITER_GROUP", "ARBITER_REDIS_PREFIX", "ARBITER_PARTITIONS", "ARBITER_HTTP"])
def test_an_address_in_the_wrong_variable_is_not_repeated(name: str) -> None:
    """It may have its password with it."""
    assert HIDDEN not in "".join(errors_of(**{name: f"redis://me:{HIDDEN}@host"}))


def test_a_store_names_its_server_without_user_and_options() -> None:
    """What errors and logs show of an address."""
    shown = redis_server(f"rediss://me:{HIDDEN}@host:6380/2?password={HIDDEN}")

    assert shown == "rediss://host:6380/2"
    assert redis_server("redis://[::1]") == "redis://[::1]:6379"


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


@pytest.mark.parametrize(
    ("text", "found"), [("cards", ("cards",)), ("cards, loans,cards", ("cards", "loans")), ("", ())]
)
def test_departments_with_a_topic_are_a_list(text: str, found: tuple[str, ...]) -> None:
    """Blanks do not matter, and each counts once."""
    assert load({**NEEDED, "ARBITER_DEPARTMENT_TOPICS": text}).departments_with_topic == found


@pytest.mark.parametrize("text", ["cards loans", "cards,", "cards;loans", "cré", "a/b"])
def test_a_department_that_is_no_topic_name_is_refused(text: str) -> None:
    """Kafka takes few characters in a name."""
    with pytest.raises(SettingsError, match="ARBITER_DEPARTMENT_TOPICS: expected departments, with commas"):
        load({**NEEDED, "ARBITER_DEPARTMENT_TOPICS": text})


def test_a_prefix_that_no_topic_can_have_is_refused() -> None:
    """Letters of ASCII only."""
    with pytest.raises(SettingsError, match="ARBITER_TOPIC_PREFIX"):
        load({**NEEDED, "ARBITER_TOPIC_PREFIX": "crédito."})
