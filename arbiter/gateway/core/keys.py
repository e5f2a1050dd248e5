"""Keys of departments: who may do what with one, how it is written, and how it is recognised.

A key is ``arb_<id>_<secret>``. The file has the SHA-256 of the whole key. The secret is 256 random bits, so nobody
finds it by trying, and a slow hash (scrypt) would protect nothing: that is for passwords that people choose. It would
cost every call some 50 ms of CPU, which anyone could make the gateway spend.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from hashlib import sha256
from hmac import compare_digest
from typing import Annotated, Final, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from arbiter.gateway.core.problems import Refused
from arbiter.messages import Name
from arbiter.messages.canary import CANARY
from arbiter.messages.forms import in_one_form

Role = Literal["publisher", "reader", "ops", "policy", "privacy"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
MEANINGS: Final[dict[Role, str]] = {
    "publisher": "ask for contacts, check, and report outcomes",
    "reader": "read the department's decisions and recalls",
    "ops": "read how the gateway is",
    "policy": "read which policy is in force",
    "privacy": "report consents, preferences, suppressions and profiles",
}

_FORM: Final = re.compile(r"arb_([0-9a-f]{8})_([A-Za-z0-9_-]{43})")
_NOBODY: Final = "0" * 64


class Key(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One key as the file has it."""

    id: Annotated[str, Meta(pattern=r"^[0-9a-f]{8}$")]
    department: Name
    roles: Annotated[list[Role], Meta(min_length=1)]
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
    created_at: Annotated[datetime, Meta(tz=True)]
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None
    note: Annotated[str, Meta(max_length=256)] = ""


class KeyFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file of keys."""

    keys: list[Key] = []


class KeysError(ValueError):
    """A file of keys that cannot be used; the text says where, what and how to mend it."""


class Caller(Struct, frozen=True):
    """Who calls: the department that the key is bound to, and what it may do."""

    key_id: str
    department: str
    roles: frozenset[Role]

    def needs(self, role: Role) -> None:
        """Refuse whoever does not have the role."""
        if role not in self.roles:
            has = ", ".join(f"`{one}`" for one in ROLES if one in self.roles)
            detail = f"this needs the role `{role}` ({MEANINGS[role]}); key {self.key_id} has {has}"
            raise Refused("role-missing", f"{detail}. Whoever gives out keys can make one with this role.")


def read(data: bytes) -> dict[str, Key]:
    """The keys of a file by id; :class:`KeysError`."""
    try:
        found = [in_one_form(key) for key in msgspec.json.decode(data, type=KeyFile).keys]
    except msgspec.DecodeError as error:
        raise KeysError(f"it is no file of keys: {error}; make keys with `arbiter gateway key new`") from None
    for key in found:
        if key.department == CANARY:
            raise KeysError(f"key {key.id}: `{CANARY}` is a department that only `arbiter canary` uses")
    keys = {key.id: key for key in found}
    if len(keys) != len(found):
        raise KeysError("two keys have the same id; remove one of them")
    return keys


def written(keys: Iterable[Key]) -> bytes:
    """The file of these keys."""
    return msgspec.json.format(msgspec.json.encode(KeyFile(keys=list(keys))), indent=2) + b"\n"


def token(key_id: str, secret: str) -> str:
    """The key as its owner gets it, once."""
    return f"arb_{key_id}_{secret}"


def digest(text: str) -> str:
    """What the file keeps of a key."""
    return sha256(text.encode()).hexdigest()


def recognised(header: str | None, keys: Mapping[str, Key], now: datetime) -> Caller:
    """Who calls with this ``Authorization`` header; the comparison takes as long for any key."""
    scheme, _, given = (header or "").partition(" ")
    given = given.strip()
    if scheme.lower() != "bearer" or not given:
        raise Refused("key-missing", "send the department's key as `Authorization: Bearer arb_…`")
    form = _FORM.fullmatch(given)
    key = keys.get(form[1]) if form else None
    is_right = compare_digest(digest(given), key.sha256 if key else _NOBODY)
    if key is None or not is_right:
        raise Refused("key-wrong", _wrong(is_form=form is not None))
    if key.expires_at is not None and key.expires_at <= now:
        at = key.expires_at.isoformat(timespec="seconds")
        raise Refused("key-expired", f"key {key.id} of `{key.department}` expired at {at}; use its successor")
    return Caller(key.id, key.department, frozenset(key.roles))


def _wrong(*, is_form: bool) -> str:
    if not is_form:
        return "this is not the form of a key (`arb_`, 8 characters, `_`, 43 characters); look whether it was cut"
    return "no such key, or it was revoked; ask whoever gives out keys for the department's present one"
