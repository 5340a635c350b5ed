"""A mount's status as text for people. Pure: the status and the time in, lines out; nothing is asked or printed.

The status is the object that ``oaiofs status --json`` prints. It may come from a mount of another version, so what is
missing in it or of another shape is passed over, never an error.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any

from ..core import stamps
from .progress import transfer_lines
from .words import amount, count, plural, printable, soon

__all__ = ["count", "lines", "moment", "object_lines", "printable", "summary"]

#: What each state means to the user and, where something is to be done about it, what.
_MEANINGS = {
    "error": "needs you: see the message",
    "conflict": "both versions are kept: see `oaiofs conflicts`",
    "draft": "values.json is not valid: open it, correct it and save it again",
    "dirty": "changed here, not on the servers yet",
    "pushing": "on its way to the servers",
    "pulling": "on its way here",
    "online-only": "not downloaded; opening a file does that",
    "synced": "same here and on the servers",
}
_ATTENTION = ("error", "conflict", "draft")
_MOVING = ("dirty", "pushing", "pulling")
#: Objects in an ordinary state that are listed one by one; more are only counted.
_MOST_LISTED = 20
_MOST_MOVING = 10
_NAME_WIDTH = 32
_WIDTH = 100

_Object = Mapping[str, Any]


def lines(
    status: Mapping[str, Any], now: datetime, zone: tzinfo | None = None, width: int = _WIDTH
) -> list[str]:
    """The whole status, what needs the user first. *now* is aware; times are shown in *zone*, None being local.

    Lines are broken to fit into *width* cells where that is not too narrow for their words.
    """
    objects = _objects(status)
    mountpoint, user, server, device = (status.get(key, "?") for key in ("mountpoint", "user", "server", "device_id"))
    return [
        f"{mountpoint}: {user} at {server}, device {device}",
        summary(status, now, zone),
        *_room(status),
        *_errors(status, objects),
        *_next_look(status),
        *_section("Needs you:", _in_states(objects, _ATTENTION), None, width),
        *_transfers(status, width),
        *_section("On the way:", _in_states(objects, _MOVING), _MOST_MOVING, width),
        *_rest(objects),
    ]


def summary(status: Mapping[str, Any], now: datetime, zone: tzinfo | None = None) -> str:
    """One line: reachable or not, and what is still to go out since when."""
    reach = "online" if status.get("online") else "offline"
    parts = [reach, _pending(status, now, zone)]
    for key, word in (("conflicts", "conflict"), ("errors", "error")):
        if number := count(status.get(key)):
            parts.append(plural(number, word))
    return ", ".join(parts)


def object_lines(
    status: Mapping[str, Any], now: datetime, zone: tzinfo | None = None, width: int = _WIDTH
) -> list[str]:
    """One object in full, for each that *status* holds, and the transfers of them in *width* cells."""
    found = []
    for entry in _objects(status):
        state = str(entry.get("state", "?"))
        found += [
            f"{_name(entry)}: {state} ({_MEANINGS.get(state, 'a state of a newer version')})",
            f"  id       {entry.get('id', '?')}",
            f"  version  {_version(str(entry.get('stamp') or ''), zone)}",
            f"  right    {entry.get('right', '?')}",
            *(f"  files    {text}" for text in _here(entry)),
        ]
        if entry.get("error"):
            found.append("  error    " + _trouble(entry))
        if step := _step(entry):
            found.append(f"  now      {step}")
    return [*found, *transfer_lines(status, width), summary(status, now, zone)]


def _pending(status: Mapping[str, Any], now: datetime, zone: tzinfo | None) -> str:
    number = count(status.get("pending"))
    if not number:
        whole = not count(status.get("errors"))
        return "every change is on the servers" if whole else "everything that can go is on the servers"
    since = moment(status.get("pending_since"))
    if since is None:
        return f"{plural(number, 'change')} pending"
    return f"{plural(number, 'change')} pending since {_clock(since, now, zone)} ({_ago(now - since)})"


def moment(value: object) -> datetime | None:
    """An aware time of seconds since the epoch, of a stamp or of ISO 8601 text; None where it is none of them."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        if isinstance(value, str):
            stamp = stamps.parse(value)
            if stamp is not None:
                return stamps.to_datetime(stamp)
            parsed = datetime.fromisoformat(value)
            return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None


def _clock(when: datetime, now: datetime, zone: tzinfo | None) -> str:
    local = when.astimezone(zone)
    return local.strftime("%H:%M" if local.date() == now.astimezone(zone).date() else "%Y-%m-%d %H:%M")


def _ago(passed: Any) -> str:
    seconds = max(0, int(passed.total_seconds()))
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            return plural(seconds // size, unit) + " ago"
    return plural(seconds, "second") + " ago"


def _version(stamp: str, zone: tzinfo | None) -> str:
    when = moment(stamp)
    if not stamp:
        return "never on the servers yet"
    try:
        return f"{stamp} ({when.astimezone(zone):%Y-%m-%d %H:%M:%S})" if when else stamp
    except OverflowError:  # in this time zone it would be the year 10000
        return stamp


def _errors(status: Mapping[str, Any], objects: list[_Object]) -> list[str]:
    """Errors of the mount as a whole; those of one object stand with the object."""
    errors = status.get("errors")
    if not isinstance(errors, list):
        return []
    with_objects = [{"name": entry.get("name"), "message": entry["error"]} for entry in objects if entry.get("error")]
    return [f"  error: {_detail(error)}" for error in errors if error not in with_objects]


def _next_look(status: Mapping[str, Any]) -> list[str]:
    """When a server that could not be reached is looked at again."""
    failures = count(status.get("failures"))
    if not failures:
        return []
    return [f"  tried again {soon(status.get('next_look'))} (failed {_times(failures)}), or at once by `oaiofs sync`"]


def _trouble(entry: _Object) -> str:
    """What is wrong with an object, and when it is tried again."""
    failures = count(entry.get("failures"))
    again = f" (failed {_times(failures)}, tried again {soon(entry.get('retry_in'))})" if failures else ""
    return _detail(entry["error"]) + again


def _times(number: int) -> str:
    return {1: "once", 2: "twice"}.get(number, f"{number} times")


def _room(status: Mapping[str, Any]) -> list[str]:
    """How much of the files is on this machine, and how much may be."""
    limits = (("cache_size", "{} may be here"), ("cache_free", "{} of the disk stays free"))
    named = [text.format(amount(count(status.get(name)))) for name, text in limits if count(status.get(name))]
    return [f"  {'; '.join([text, *named])}" for text in _here(status)]


def _here(sizes: Mapping[str, Any]) -> list[str]:
    """At most one line: of how many bytes how many are here, and how many of all are pinned."""
    if "total_bytes" not in sizes or not count(sizes["total_bytes"]):
        return []
    pinned = count(sizes.get("pinned_bytes"))
    text = f"{amount(count(sizes.get('local_bytes')))} of {amount(count(sizes['total_bytes']))} on this machine"
    return [text + (f", {amount(pinned)} pinned" if pinned else "")]


def _section(title: str, objects: list[_Object], most: int | None, width: int) -> list[str]:
    if not objects:
        return []
    listed = objects[:most]
    more = [f"  … and {len(objects) - len(listed)} more"] if len(objects) > len(listed) else []
    return ["", title, *(line for entry in listed for line in _entry(entry, width)), *more]


def _entry(entry: _Object, width: int) -> list[str]:
    state = str(entry.get("state", "?"))
    meaning = _trouble(entry) if entry.get("error") else _step(entry) or _MEANINGS.get(state, "")
    head, indent = f"  {_name(entry):<{_NAME_WIDTH}} {state:<11} ", _NAME_WIDTH + 15
    if width < _WIDTH:
        head, indent = f"  {_name(entry)}: {state}, ", 4
    return textwrap.wrap(
        meaning or "?", min(width, _WIDTH), initial_indent=head, subsequent_indent=" " * indent,
        break_long_words=False,
    )  # fmt: skip


def _step(entry: _Object) -> str:
    return printable(str(entry.get("step") or ""))


def _transfers(status: Mapping[str, Any], width: int) -> list[str]:
    found = transfer_lines(status, width)
    return ["", "Transfers:", *found] if found else []


def _rest(objects: list[_Object]) -> list[str]:
    ordinary = [entry for entry in objects if entry.get("state") not in (*_ATTENTION, *_MOVING)]
    tally = Counter(str(entry.get("state", "?")) for entry in ordinary)
    counted = ", ".join(f"{number} {state}" for state, number in sorted(tally.items()))
    title = f"{plural(len(objects), 'object')}" + (f": {counted}" if counted else "")
    names = [f"  {_name(entry)}" for entry in ordinary] if len(ordinary) <= _MOST_LISTED else []
    return ["", title, *names]


def _objects(status: Mapping[str, Any]) -> list[_Object]:
    objects = status.get("objects")
    if not isinstance(objects, list):
        return []
    return sorted((entry for entry in objects if isinstance(entry, Mapping)), key=_name)


def _in_states(objects: Iterable[_Object], states: tuple[str, ...]) -> list[_Object]:
    chosen = [entry for entry in objects if entry.get("state") in states]
    return sorted(chosen, key=lambda entry: states.index(entry["state"]))


def _name(entry: _Object) -> str:
    return printable(str(entry.get("name") or entry.get("id") or "?"))


def _detail(value: object) -> str:
    """What a value tells: a text, the message of an object, or all of a list. Names in it come from other users."""
    if isinstance(value, Mapping):
        known = [str(value[key]) for key in ("name", "path", "what", "message", "why", "error") if value.get(key)]
        return printable(": ".join(known) or str(dict(value)))
    if isinstance(value, list | tuple):
        return "; ".join(_detail(part) for part in value)
    return printable(str(value))
