"""The command that shows conflicts and ends them, and its words: what the verbs tell in, lines out.

Names, values and texts come from other users and their devices: whatever is printed goes through ``printable``.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from datetime import tzinfo
from pathlib import Path
from typing import Any

import click

from .. import errors
from . import logs, places
from .report import moment, printable

_MOST_VALUE = 300
_MOST_DIFF = 40
#: Comparing takes time with the square of the lines.
_MOST_LINES = 2000


@click.command()
@click.argument("words", metavar="[ID|OAIO|PATH]...", nargs=-1)
@click.option("--keep", type=click.Choice(["mine", "theirs", "both"]), help="End these conflicts, keeping this side.")
@click.option("--all", "every", is_flag=True, help="With --keep: every conflict there is.")
@click.option("--show", is_flag=True, help="Show whole texts; download them and what both were made from.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@places.place_options
@logs.verbose_option
def conflicts(
    words: tuple[str, ...], keep: str | None, every: bool, show: bool, as_json: bool, mountpoint: Path | None,
    client_root: Path | None,
) -> None:  # fmt: skip
    """Show what was changed on two devices at once, and end it.

    The version that reached the servers first has the name, or the place of the value; what lost is kept beside it.
    Without --keep the conflicts are shown with both sides: all, or those of an object, of a file or folder in it, or
    with the given ids (or as much of an id's beginning as is clear).

    \b
    --keep mine    what lost takes the place: the conflict copy whose name has the device that made it,
                   this device or another one; or the value that this device had.
    --keep theirs  what has the place keeps it, and what lost goes.
    --keep both    a conflict copy stays as an ordinary file, named after its device;
                   of values only two lists can be joined.

    What goes is still on the storage host in an older version, or in the client root's trash where it never was.
    Ending a conflict is a change like any other: it works offline, and other devices see it with the next version.
    """
    if keep is None and every:
        raise errors.UsageError("--all is for ending conflicts: give --keep mine, theirs or both with it.")
    if keep is not None and not words and not every:
        raise errors.UsageError("Say which conflicts are to end: their ids, an object or a path, or --all.")
    if every and words:
        raise errors.UsageError("Either name the conflicts or give --all.")
    named, within = places.named(words, mountpoint, client_root)
    where: dict[str, Any] = {"path": within, "mountpoint": mountpoint, "client_root": client_root}
    if keep is None:
        answer = places.ask("conflicts", **where, words=named, texts=not as_json, show=show)
    else:
        answer = places.ask("resolve", **where, words=named, all=every, keep=keep)
    if as_json:
        click.echo(json.dumps(answer, indent=2))  # in ASCII: names and values are not always fit for a terminal
    else:
        text = lines(answer, whole=show) if keep is None else ended_lines(answer, keep)
        click.echo("\n".join(text))


# -- as text -------------------------------------------------------------------------------------------------


def lines(answer: Mapping[str, Any], *, whole: bool = False, zone: tzinfo | None = None) -> list[str]:
    """The conflicts as text; *whole* does not shorten anything. Times are shown in *zone*, None being local."""
    found = answer["conflicts"]
    if not found:
        return ["No conflicts."]
    text = [line for one in found for line in [*_one(one, whole=whole, zone=zone), ""]]
    number = f"{len(found)} conflicts" if len(found) > 1 else "1 conflict"
    return [*text, f"{number}: `oaiofs conflicts ID… --keep mine|theirs|both` ends them, `--show` shows more."]


def ended_lines(answer: Mapping[str, Any], keep: str) -> list[str]:
    """What was done, a line for each."""
    found = answer["resolved"]
    return [_ended(one, keep) for one in found] or ["No conflicts."]


def _ended(one: Mapping[str, Any], keep: str) -> str:
    what = f"{one['object']}: {_subject(one)}: "
    if one["kind"] == "value":
        sides = {"mine": f"set to {_value(one, 'mine')}", "theirs": f"stays {_value(one, 'theirs')}"}
        return printable(what + sides.get(keep, "holds the items of both lists"))
    stays = "stays" if one["theirs"] else "stays away"  # nothing had the name
    sides = {"mine": f"is what {one['device']} wrote", "theirs": f"{stays}, {one['copy']} is removed"}
    return printable(what + sides.get(keep, f"{stays}, and what {one['device']} wrote is {one.get('now', '?')}"))


def _subject(one: Mapping[str, Any]) -> str:
    return str(one["key"] if one["kind"] == "value" else one["path"])


def _one(one: Mapping[str, Any], *, whole: bool, zone: tzinfo | None) -> list[str]:
    device = f"{one['device']}, this device" if one["here"] else str(one["device"])
    if one["kind"] == "value":
        head = f"{one['id']}  {one['object']}: the value {one['key']}"
        most = None if whole else _MOST_VALUE
        sides = [
            f"  mine    {_value(one, 'mine', most)}   ({device}, {_time(one['time'], zone)})",
            f"  theirs  {_value(one, 'theirs', most)}   (has the place)",
            f"  base    {_value(one, 'base', most)}",
        ]
        return [printable(head), *map(printable, sides)]
    head = f"{one['id']}  {one['object']}: {one['path']}"
    theirs = one["theirs"]
    sides = [
        f"  mine    {_file(one['mine'], zone)}   (of {device})",
        f"  theirs  {_file(theirs, zone)}   (has the name)" if theirs else "  theirs  nothing has the name any more",
        f"  base    {_base(one)}",
    ]
    return [printable(head), *map(printable, sides), *_texts(one, whole=whole)]


def _value(one: Mapping[str, Any], side: str, most: int | None = _MOST_VALUE) -> str:
    if side not in one:
        return "nothing"
    text = json.dumps(one[side], ensure_ascii=False)
    return text if most is None or len(text) <= most else text[:most] + "…"


def _file(facts: Mapping[str, Any], zone: tzinfo | None) -> str:
    if facts.get("folder"):
        return f"{facts['path']}/"
    place = "" if facts["local"] else ", not downloaded"
    return f"{facts['path']}, {facts['size']} bytes, {_time(facts['time'], zone)}{place}"


def _time(value: object, zone: tzinfo | None) -> str:
    when = moment(value)
    return when.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S") if when else "at an unknown time"


def _base(one: Mapping[str, Any]) -> str:
    base = one["base"]
    if base is not None:
        return f"on the storage host: {base['place']}, {base['size']} bytes"
    return "none is known" if one["here"] else f"{one['device']} may know it"


def _texts(one: Mapping[str, Any], *, whole: bool) -> Iterable[str]:
    texts, missing = one.get("texts", {}), one.get("missing", {})
    for side, why in missing.items():
        yield printable(f"  {side} can't be shown: {why}")
    if whole and "base" in texts:
        yield from ("  base:", *map(_text_line, texts["base"].splitlines()))
    if "mine" in texts and "theirs" in texts:
        yield from _diff(one, texts["theirs"].splitlines(), texts["mine"].splitlines(), whole=whole)


def _text_line(line: str) -> str:
    return "    " + printable(line.expandtabs())


def _diff(one: Mapping[str, Any], theirs: list[str], mine: list[str], *, whole: bool) -> Iterable[str]:
    if max(len(theirs), len(mine)) > _MOST_LINES:
        yield f"  more than {_MOST_LINES} lines: compare the two files with a tool of yours"
        return
    changes = list(difflib.unified_diff(theirs, mine, f"theirs: {one['path']}", f"mine: {one['copy']}", lineterm=""))
    shown = changes if whole else changes[:_MOST_DIFF]
    yield from map(_text_line, shown)
    if len(changes) > len(shown):
        yield f"  … and {len(changes) - len(shown)} more lines"
    if not changes:
        yield "  both have the same lines"
