"""What the in-memory twin of an oaio server keeps: users, objects and the log of changes.

Must not know sessions, nor who may do what.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from ..core.model import Right


@dataclass(slots=True)
class User:
    password: str = field(repr=False)
    superuser: bool = False


@dataclass(slots=True)
class KnownObject:
    """One registered object: its current version as wire JSON, and who may do what."""

    creator: str
    wire: dict[str, Any]
    rights: dict[str, Right]
    keys: dict[str, int] = field(default_factory=dict)  # user -> the subscription's primary key
    lineages: dict[str, list[str]] = field(default_factory=dict)  # stamp -> those that it was made from, newest first

    @property
    def stamp(self) -> str:
        return str(self.wire["client_stamp"])

    def lineage_from(self, base: str, merged: str) -> list[str]:
        """That of a new version made from *base* and, where it is not '', from *merged*."""
        before = {merged, *self.lineages.get(base, ()), *self.lineages.get(merged, ())} - {base, ""}
        return [base, *sorted(before, reverse=True)] if base else []


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One change that took effect. *wire* is the object as announced, {} for the other actions."""

    action: str
    username: str
    oaio_id: str
    stamp: str
    wire: dict[str, Any] = field(repr=False, default_factory=dict)


def copied(wire: dict[str, Any]) -> dict[str, Any]:
    """*wire* as it comes out of a journey as JSON text."""
    copy: dict[str, Any] = json.loads(json.dumps(wire))
    return copy


def says_the_same(known: dict[str, Any], wire: dict[str, Any]) -> bool:
    """Whether *wire* is what was announced already, as when a lost answer makes a client try again."""
    return all(known[key] == wire[key] for key in ("client_stamp", "client_values"))
