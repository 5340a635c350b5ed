"""The commands about old versions: which there are, bring one back, compare, let go of some.

Names, values and texts come from other users and their devices: whatever is printed goes through ``printable``.
"""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import tzinfo
from pathlib import Path
from typing import Any

import click

from .. import control, errors
from . import logs, places
from .report import moment, printable
from .words import amount

_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
#: Comparing takes time with the square of the lines.
_MOST_LINES = 2000
_MOST_NAMED = 5
_KEEP, _DAYS = 10, 30.0


@click.command()
@click.argument("words", metavar="[prune] PATH", nargs=-1)
@click.option("--keep", type=click.IntRange(min=1), help=f"prune: how many of the newest stay ({_KEEP}).")
@click.option("--older-than", "days", type=click.FloatRange(min=0), help=f"prune: younger ones stay ({_DAYS:g} days).")
@click.option("--yes", is_flag=True, help="prune: do not ask, what is removed is gone for good.")
@_json_option
@places.place_options
@logs.verbose_option
def versions(
    words: tuple[str, ...], keep: int | None, days: float | None, yes: bool, as_json: bool, mountpoint: Path | None,
    client_root: Path | None,
) -> None:  # fmt: skip
    """List an object's versions, or those in which a file changed.

    The newest comes last. PATH may be a folder of an object, too, and need not be there any more. Each version is also
    a read-only folder, OBJECT/.versions/STAMP, which is not listed but there.

    \b
    oaiofs versions prune OBJECT [--keep N] [--older-than DAYS] [--yes]

    removes old versions from the storage host, for all users; it asks first, and needs right D. The N newest stay,
    whatever is younger, the announced version, and what this device or, as far as the server tells, another one needs.
    """
    where: dict[str, Any] = {"mountpoint": mountpoint, "client_root": client_root}
    pruning = len(words) == 2 and words[0] == "prune"
    if not pruning and len(words) != 1:
        raise errors.UsageError("Say what is meant: `oaiofs versions PATH`, or `oaiofs versions prune OBJECT`.")
    if not pruning and (keep is not None or days is not None or yes):
        raise errors.UsageError("--keep, --older-than and --yes are for `oaiofs versions prune OBJECT`.")
    if pruning:
        _prune(words[1], _KEEP if keep is None else keep, _DAYS if days is None else days, yes, as_json, where)
        return
    answer = _ask("versions", words[0], where)
    _print(answer, as_json, version_lines(answer))


@click.command()
@click.argument("path")
@click.option("--version", metavar="STAMP", help="Which one, or the beginning of its stamp.")
@_json_option
@places.place_options
@logs.verbose_option
def restore(path: str, version: str | None, as_json: bool, mountpoint: Path | None, client_root: Path | None) -> None:
    """Make what an old version had the content again.

    PATH is an object, or a file or folder of it as it was then; in OBJECT/.versions/STAMP it names the version too.

    This is a change like any other: it makes a new version, which reaches the other devices, and nothing is downloaded
    for it. Files that the old version did not have go to the trash, and so does what has not been sent yet. An
    object's values, its name among them, come back too; those alone by the path of its values.json. What you may not
    send any more is taken back by the current version.
    """
    answer = _ask("restore", path, {"mountpoint": mountpoint, "client_root": client_root}, version=version)
    _print(answer, as_json, restored_lines(answer))


@click.command()
@click.argument("path")
@click.option("--version", "versions_", metavar="STAMP", multiple=True, help="This one; given twice, these two.")
@_json_option
@places.place_options
@logs.verbose_option
def diff(
    path: str, versions_: tuple[str, ...], as_json: bool, mountpoint: Path | None, client_root: Path | None
) -> None:
    """Show what differs between an old version and now.

    Or between two versions. PATH is an object, or a file or folder of it. Without --version: what was not sent yet.
    """
    answer = _ask("diff", path, {"mountpoint": mountpoint, "client_root": client_root}, versions=list(versions_))
    _print(answer, as_json, diff_lines(answer))


def _prune(word: str, keep: int, days: float, yes: bool, as_json: bool, where: dict[str, Any]) -> None:
    plan = _ask("prune", word, where, keep=keep, days=days)
    old = plan["would_remove"]
    if not old:
        _print({**plan, "removed": []}, as_json, [f"No version of {printable(plan['object'])} is to go."])
        return
    if not yes:
        click.echo("\n".join(f"  {_stamp_line(one)}" for one in old), err=True)
        total = f"{_plural(len(old), 'version')} of {printable(plan['object'])}, {amount(plan['bytes'])}"
        if not sys.stdin.isatty():
            raise errors.Refused(f"{total}, would be gone for good, for all users: confirm with --yes")
        click.confirm(f"Remove {total}, for good and for all users?", abort=True, err=True)
    stamps = [one["stamp"] for one in old]
    done = _ask("prune", word, where, keep=keep, days=days, stamps=stamps, yes=True)
    _print(done, as_json, [f"{_plural(len(done['removed']), 'version')} gone for good, {amount(done['bytes'])} freed."])


def _ask(verb: str, word: str, where: Mapping[str, Any], **arguments: Any) -> dict[str, Any]:
    """The answer about *word*, which may be a path in a mount; of the mount that it is in."""
    mountpoint, client_root = where["mountpoint"], where["client_root"]
    mounts = [] if client_root is not None else control.running()
    if mountpoint is not None:
        mounts = [control.find(mountpoint=mountpoint)]
    inside = next((found for mount in mounts if (found := places.inside(mount, Path(word))) is not None), None)
    path = None if inside is None else Path(word)
    return places.ask(
        verb, path=path, mountpoint=mountpoint, client_root=client_root, word=[word, inside], **arguments
    )  # fmt: skip


def _print(answer: Mapping[str, Any], as_json: bool, lines: Iterable[str]) -> None:
    if as_json:
        click.echo(json.dumps(answer, indent=2))  # in ASCII: names and texts are not always fit for a terminal
    else:
        for line in lines:
            click.echo(line)


# -- as text -------------------------------------------------------------------------------------------------


def version_lines(answer: Mapping[str, Any], zone: tzinfo | None = None) -> Iterator[str]:
    """The answer of ``versions`` for people, the newest last; times in *zone*, None being local."""
    what = printable("/".join(filter(None, (answer["object"], answer["path"]))))
    if not answer["versions"]:
        yield f"No version of {what} is known."
    for one in reversed(answer["versions"]):
        yield _stamp_line(one, zone)
        who = " on ".join(filter(None, (one["user"], one["device"])))
        notes = [f"by {who}"] if who else []
        notes += ["values not known"] if not one["values_known"] else []
        notes += ["some of its files are gone"] if one["incomplete"] else []
        notes += ["the version that is here"] if one["current"] else []
        if notes:
            yield printable(f"    {'; '.join(notes)}")
        yield from (f"    {line}" for line in _change_lines(one["changes"]))


def _stamp_line(one: Mapping[str, Any], zone: tzinfo | None = None) -> str:
    when = moment(one["stamp"])
    at = f"  {when.astimezone(zone):%Y-%m-%d %H:%M:%S}" if when else ""
    return f"{printable(one['stamp'])}{at}  {_plural(one['files'], 'file')}, {amount(one['bytes'])}"


def _change_lines(changes: Mapping[str, Any]) -> Iterator[str]:
    for kind, sign in (("added", "+"), ("removed", "-"), ("changed", "~"), ("values", "=")):
        names = changes[kind]
        if names:
            shown = ", ".join(names[:_MOST_NAMED])
            more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
            yield printable(f"{sign} {'values ' if kind == 'values' else ''}{shown}{more}")


def restored_lines(answer: Mapping[str, Any]) -> Iterator[str]:
    """What a restore came to."""
    what = f"{answer['object']}: as in version {answer['version']}"
    parts = [f"{_plural(answer['restored_files'], 'file')} restored"] if answer["restored_files"] else []
    parts += [f"{_plural(answer['removed_files'], 'file')} moved to the trash"] if answer["removed_files"] else []
    parts += ["values restored"] if answer["values"] else []
    yield printable(f"{what}: {', '.join(parts) or 'nothing had to be changed'}.")
    if not answer["values_known"]:
        yield "The values of that version are known neither to the server nor here: they are as they were."


def diff_lines(answer: Mapping[str, Any]) -> Iterator[str]:
    """The differences as a unified diff, with a line for what can't be shown so."""
    sides = answer["from"], answer["to"] or "now"
    values = answer["values"]
    if values.get("unknown"):
        yield f"Values can't be compared: those of {', '.join(one or 'now' for one in values['unknown'])} are not known"
    entries = [*answer["files"], *([{"what": "changed", **values}] if values.get("path") else [])]
    for one in sorted(entries, key=lambda entry: str(entry["path"])):
        path = str(one["path"])
        if one["what"] == "added":
            yield printable(f"Only in {sides[1]}: {path} ({amount(one['size'])})")
        elif one["what"] == "removed":
            yield printable(f"Only in {sides[0]}: {path} ({amount(one['size'])})")
        elif "old" in one:
            yield from _unified(path, one["old"].splitlines(), one["new"].splitlines(), sides)
        else:
            reason = "Binary files" if one.get("binary") else "Large files"
            yield printable(f"{reason} {path} differ ({amount(one['old_size'])} and {amount(one['size'])})")


def _unified(path: str, old: Sequence[str], new: Sequence[str], sides: tuple[str, str]) -> Iterator[str]:
    if max(len(old), len(new)) > _MOST_LINES:
        yield printable(f"Large files {path} differ (more than {_MOST_LINES} lines)")
        return
    if old == new:
        yield printable(f"Files {path} differ in how their lines end")
        return
    for line in difflib.unified_diff(old, new, path, path, *sides, lineterm=""):
        yield printable(line.expandtabs())


def _plural(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
