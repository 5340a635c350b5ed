"""The commands about what left the mount: list it, bring it back, let it go for good."""

from __future__ import annotations

import json
import sys
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..core.trash import choose
from . import logs, report
from .places import ask, place_options
from .words import amount

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
#: Entries removed with one request, whose length is limited.
_BATCH = 100


@click.group()
def trash() -> None:
    """See, restore or empty what left the mount.

    Objects that were removed here or are gone from the server are kept, and files that a version from elsewhere
    removed: for 30 days, or as long as the setting trash_days says.
    """


@trash.command("list")
@_json_option
@place_options
@logs.verbose_option
def list_(as_json: bool, mountpoint: Path | None, client_root: Path | None) -> None:
    """Tell what is in the trash, oldest first."""
    answer = ask("trash_list", mountpoint=mountpoint, client_root=client_root)
    if as_json:
        _print_json(answer)
    else:
        click.echo("\n".join(lines(answer)))


@trash.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME…")
@_json_option
@place_options
@logs.verbose_option
def restore(names: tuple[str, ...], as_json: bool, mountpoint: Path | None, client_root: Path | None) -> None:
    """Bring objects or files back from the trash.

    NAME is an object's name or, where the trash has it more than once, the entry that `oaiofs trash list` shows.
    """
    answer = ask("trash_restore", mountpoint=mountpoint, client_root=client_root, names=list(names))
    if as_json:
        _print_json(answer)
        return
    for one in answer["restored"]:
        click.echo(_restored(one))


@trash.command()
@click.argument("names", nargs=-1, metavar="[NAME…]")
@click.option("--yes", is_flag=True, help="Do not ask: what is removed is gone for good.")
@_json_option
@place_options
@logs.verbose_option
def empty(
    names: tuple[str, ...], yes: bool, as_json: bool, mountpoint: Path | None, client_root: Path | None
) -> None:
    """Remove entries of the trash for good, all without NAME.

    Removals of many objects, which wait for your word, are told to the server then.
    """
    place = {"mountpoint": mountpoint, "client_root": client_root}
    if yes or not sys.stdin.isatty():
        batches: list[list[str]] = [list(names)]
    else:
        batches = _confirmed(ask("trash_list", **place), names)
    answers = [ask("trash_empty", **place, names=batch, yes=yes or sys.stdin.isatty()) for batch in batches]
    emptied = [key for answer in answers for key in answer["emptied"]]
    freed = sum(answer["bytes"] for answer in answers)
    if as_json:
        _print_json({"emptied": emptied, "bytes": freed})
    else:
        click.echo(f"{_plural(len(emptied), 'entry', 'entries')} gone for good, {amount(freed)} freed.")


def _confirmed(answer: Mapping[str, Any], names: Sequence[str]) -> list[list[str]]:
    """The entries that are meant, in batches, once the user has said yes. Raises Abort."""
    known = {one["entry"]: one for one in answer["entries"]}
    shown = {key: one["name"] for key, one in known.items()}
    keys = list(dict.fromkeys(choose(name, shown) for name in names)) if names else list(known)
    if keys:
        total = amount(sum(known[key]["bytes"] for key in keys))
        click.confirm(f"Remove {_plural(len(keys), 'entry', 'entries')} ({total}) for good?", abort=True, err=True)
    return [keys[start : start + _BATCH] for start in range(0, len(keys), _BATCH)]


def _print_json(answer: Mapping[str, Any]) -> None:
    text = json.dumps(answer, indent=2, ensure_ascii=False)
    click.echo(text.encode(errors="backslashreplace"))  # what is no Unicode in a name is escaped, as JSON has it


# -- as text -------------------------------------------------------------------------------------------------


def lines(answer: Mapping[str, Any], zone: tzinfo | None = None) -> list[str]:
    """The answer of ``trash_list`` for people; times in *zone*, None being local."""
    entries = answer["entries"]
    if not entries:
        return ["The trash is empty."]
    total = amount(sum(one["bytes"] for one in entries))
    return [line for one in entries for line in _entry(one, zone)] + [
        f"{_plural(len(entries), 'entry', 'entries')}, {total}: `oaiofs trash restore NAME` brings one back."
    ]


def _entry(one: Mapping[str, Any], zone: tzinfo | None) -> Iterator[str]:
    what = "object" if one["what"] == "object" else "files of an object"
    by = f" by {one['by']}" if one["by"] else ""
    yield f"{report.printable(one['name'])}: {what}, {report.printable(one['why'] + by)}"
    yield f"  entry    {report.printable(one['entry'])}"
    yield f"  removed  {_time(one['removed_at'], zone) or 'at an unknown time'}"
    elsewhere = f", {one['elsewhere']} more on the storage host" if one["elsewhere"] else ""
    yield f"  holds    {_plural(one['files'], 'file', 'files')}, {amount(one['bytes'])}{elsewhere}"
    yield from (f"  file     {report.printable(path)}" for path in one["paths"])
    hidden = one["files"] + one["elsewhere"] - len(one["paths"])
    if one["paths"] and hidden > 0:
        yield f"           and {hidden} more"
    goes = _time(one["purged_at"], zone)
    if not one["server_knows"]:
        yield "  goes     not before the server is told of the removal"
    else:
        yield f"  goes     {goes or 'only when the trash is emptied'}"
    for problem in one["problems"]:
        yield f"  problem  {report.printable(problem)}"


def _time(text: object, zone: tzinfo | None) -> str:
    when = report.moment(text)
    return f"{when.astimezone(zone):%Y-%m-%d %H:%M}" if when else ""


def _restored(one: Mapping[str, Any]) -> str:
    name, where = report.printable(one["name"]), report.printable(one["object"])
    if one["paths"]:
        return f"{name}: {report.printable(', '.join(one['paths']))} restored in {where}."
    anew = " as a new object" if one["new"] else ""
    return f"{name} is back{anew}" + (f", called {where}." if where != name else ".")


def _plural(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
