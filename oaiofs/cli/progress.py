"""Transfers as text: the lines of the status, and the one line of what waits for everything. Pure, like ``report``.

What is told comes from a mount that may be of another version: what is missing or of another shape is passed over.
Names are other users': nothing of them reaches a terminal unchecked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .words import amount, cells, count, duration, fitted, plural, printable, soon

#: Transfers that are listed one by one; more are only counted.
_MOST_LISTED = 8
_BAR = 10
_NAME_LEAST, _NAME_MOST = 12, 48
#: Objects whose steps are named in the one line.
_MOST_STEPS = 2


def transfer_lines(status: Mapping[str, Any], width: int) -> list[str]:
    """A line for each transfer, none wider than *width* cells as long as that is more than a few words."""
    transfers = _transfers(status)
    lines = [_line(one, width) for one in transfers[:_MOST_LISTED]]
    more = len(transfers) - len(lines)
    return [*lines, f"  … and {more} more"] if more > 0 else lines


def waiting_line(brief: Mapping[str, Any], before: int, width: int) -> str:
    """All in one line of *width* cells: what is done of what is to do, and what is waited for.

    Of the bytes that have travelled, *before* were none of it.
    """
    done = max(0, _number(brief.get("moved")) - before)
    total = done + _number(brief.get("to_go"))
    parts = [_summed(brief, done, total)] if total else []
    objects = count(brief.get("pending")) + count(brief.get("incoming"))
    parts += [f"{plural(objects, 'object')} to go"] if objects else []
    parts += [*_steps(brief), *_reasons(brief)]
    bar = f"{bar_of(done, total)} " if total and width >= 60 else ""
    return fitted(bar + (", ".join(parts) or "looking at the server"), width)


def moved_before(brief: Mapping[str, Any]) -> int:
    """Bytes that have travelled in transfers that are over."""
    return _number(brief.get("moved")) - sum(_number(one.get("done")) for one in _transfers(brief))


def bar_of(done: int, total: int | None, cells: int = _BAR) -> str:
    """A bar of so many *cells* in plain letters, which every terminal has."""
    filled = cells if not total else min(cells, max(0, done) * cells // total)
    return f"[{'#' * filled}{'-' * (cells - filled)}]" if total else f"[{'-' * cells}]"


def _line(one: Mapping[str, Any], width: int) -> str:
    done, total = _number(one.get("done")), _optional(one.get("total"))
    per_second, remaining = _optional(one.get("rate")), _optional(one.get("remaining"))
    columns = [f"{printable(str(one.get('direction'))):<4.4}", f"{_percent(done, total):>4}"]
    if width >= 50:
        columns.append(f"{_of(done, total):>22}")
    if width >= 66:
        columns.append(f"{'' if per_second is None else amount(per_second) + '/s':>12}")
    if width >= 80:
        columns.append(f"{'' if remaining is None else duration(remaining) + ' left':>13}")
    if width >= 100 and total is not None:
        columns.insert(1, bar_of(done, total))
    rest = "  ".join(columns).rstrip()
    room = max(_NAME_LEAST, min(_NAME_MOST, width - len(rest) - 4))
    name = fitted(_name(one), room)
    return f"  {name}{' ' * (room - cells(name))}  {rest}"


def _name(one: Mapping[str, Any]) -> str:
    return printable("/".join(str(one[key]) for key in ("object", "path") if one.get(key)) or "?")


def _percent(done: int, total: int | None) -> str:
    return f"{min(100, done * 100 // total)}%" if total else ""


def _of(done: int, total: int | None) -> str:
    return amount(done) if total is None else f"{amount(done)} of {amount(total)}"


def _summed(brief: Mapping[str, Any], done: int, total: int) -> str:
    per_second = sum(_number(one.get("rate")) for one in _transfers(brief))
    speed = f", {amount(per_second)}/s, {duration((total - done) / per_second)} left" if per_second else ""
    return _of(done, total) + speed


def _steps(brief: Mapping[str, Any]) -> list[str]:
    """What is done while no bytes travel."""
    steps = [] if _transfers(brief) else _mappings(brief.get("steps"))
    return [printable(f"{one.get('step')} ({one.get('object')})") for one in steps[:_MOST_STEPS]]


def _reasons(brief: Mapping[str, Any]) -> list[str]:
    """What the rest waits for."""
    found = []
    for one in _mappings(brief.get("waiting")):
        again, objects = soon(one.get("seconds")), plural(count(one.get("objects")), "object")
        match one.get("why"):
            case "offline":
                found.append(f"the server can't be reached, tried again {again}")
            case "brake":
                found.append("a brake holds removals: see `oaiofs status`")
            case "retry":
                found.append(f"{objects} failed, tried again {again}")
            case "quiet":
                found.append(f"{objects} just changed, sent {again}")
    return found


def _transfers(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return _mappings(status.get("transfers"))


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e15


def _number(value: Any) -> int:
    return int(value) if _is_number(value) else 0


def _optional(value: Any) -> int | None:
    return int(value) if _is_number(value) else None
