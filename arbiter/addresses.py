"""Checks addresses of Kafka and Redis, and names a fault without repeating the address: it may hold a password."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

PORT_MAX: Final = 65_535
REDIS_PORT: Final = 6_379
KAFKA_FORM: Final = "host:port[,host:port…]"
REDIS_FORM: Final = "redis://[user:password@]host:port[/db], rediss://… for TLS"

_HOST: Final = re.compile(r"\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+")
_OPTIONS: Final = frozenset({"db", "username", "password", "client_name"})
_TLS_OPTIONS: Final = frozenset(
    (
        "ssl_ca_certs",
        "ssl_ca_path",
        "ssl_certfile",
        "ssl_keyfile",
        "ssl_password",
        "ssl_cert_reqs",
        "ssl_check_hostname",
    )
)
_ADVICE: Final = "write `@` in a user or password as %40, `#` as %23, `/` as %2F, `?` as %3F, `:` as %3A"


def kafka_fault(text: str) -> str | None:
    """What is wrong with a list of brokers; ``None`` if nothing is. It never repeats any part of it."""
    entries = text.split(",")
    for number, entry in enumerate(entries, 1):
        fault = _broker_fault(entry)
        if fault is not None:
            return f"{fault} in entry {number} of {len(entries)}" if len(entries) > 1 else fault
    return None


def _broker_fault(entry: str) -> str | None:
    if "://" in entry:
        return "found a scheme (`…://`), which ARBITER_KAFKA_SECURITY_PROTOCOL says"
    if "@" in entry:
        return "found an `@`: user and password go into ARBITER_KAFKA_USERNAME and ARBITER_KAFKA_PASSWORD"
    host, colon, port = entry.rpartition(":")
    if not colon:
        return "found no port"
    if not _HOST.fullmatch(host):
        return "found no host name before the port"
    return None if _is_port(port) else f"found a port that is no number from 1 to {PORT_MAX}"


def redis_fault(text: str) -> str | None:
    """What is wrong with a Redis URL; ``None`` if nothing is. It never repeats any part of it."""
    scheme, found, _ = text.partition("://")
    if not found:
        return "found no scheme (`redis://`, `rediss://` or `unix://`)"
    if scheme not in {"redis", "rediss", "unix"}:
        return "found another scheme than `redis://`, `rediss://` or `unix://`"
    try:
        parts = urlsplit(text)
    except ValueError:
        return f"found a host that is none; {_ADVICE}"
    # What is cut off at a `/`, `?` or `#` and has an `@` further on was meant as a password.
    if "@" in parts.path + parts.query + parts.fragment:
        return f"found an `@` behind the host; {_ADVICE}"
    if parts.fragment or text.endswith("#"):
        return f"found a `#`; {_ADVICE}"
    return _options_fault(parts) or (None if scheme == "unix" else _server_fault(parts))


def _server_fault(parts: SplitResult) -> str | None:
    server = parts.netloc.rpartition("@")[2]
    host, port = _server(server)
    if port is not None and not _is_port(port):
        return f"found a port that is no number from 1 to {PORT_MAX}; {_ADVICE}"
    if host and not _HOST.fullmatch(host):
        return f"found a host that is none; {_ADVICE}"
    if parts.path not in {"", "/"} and not re.fullmatch(r"/\d{1,9}", parts.path, re.ASCII):
        return f"found a database behind the `/` that is no number; {_ADVICE}"
    return None


def _options_fault(parts: SplitResult) -> str | None:
    if not parts.query:
        return None
    try:
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True))
    except ValueError:
        return f"found options behind the `?` that are not name=value; {_ADVICE}"
    known = _OPTIONS | _TLS_OPTIONS if parts.scheme == "rediss" else _OPTIONS
    if not options.keys() <= known:
        return f"found an option behind the `?` that is none of {', '.join(sorted(known))}; {_ADVICE}"
    is_number = re.fullmatch(r"\d{1,9}", options.get("db", "0"), re.ASCII)
    return None if is_number else "found a `db` that is no number"


def redis_server(url: str) -> str:
    """``host:port/db`` of a URL with its scheme, without user, password and options; ``ValueError`` names the fault."""
    fault = redis_fault(url)
    if fault is not None:
        raise ValueError(f"expected {REDIS_FORM}, {fault}")
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return f"unix://{parts.path}"
    host, port = _server(parts.netloc.rpartition("@")[2])
    return f"{parts.scheme}://{host or 'localhost'}:{port or REDIS_PORT}{parts.path}"


def _server(server: str) -> tuple[str, str | None]:
    """Host and port; an IPv6 address has colons of its own, in brackets."""
    bracket = server.rfind("]")
    host, colon, port = server[bracket + 1 :].partition(":")
    return server[: bracket + 1] + host, port if colon else None


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= len(str(PORT_MAX)) and 0 < int(text) <= PORT_MAX
