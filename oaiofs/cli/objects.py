"""The commands about objects as wholes: list them, remove one. Names come from other users: see ``printable``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import logs
from .places import ask, ask_about, named, place_options
from .words import amount, cells, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@click.command()
@click.argument("words", metavar="[OAIO]...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@place_options
@logs.verbose_option
def ls(words: tuple[str, ...], as_json: bool, mountpoint: Path | None, client_root: Path | None) -> None:
    """List objects: right, state, version, size and name.

    The right is yours, the version is told by its stamp, the size is that of the attached files. OAIO is an object's
    path in the mount, its name or its id; without any all are listed. Answered from this machine, with or without a
    mount.
    """
    paths, within = named(words, mountpoint, client_root)
    answer = ask("ls", path=within, mountpoint=mountpoint, client_root=client_root, words=paths)
    click.echo(json.dumps(answer, indent=2) if as_json else "\n".join(lines(answer)))


@click.command()
@click.argument("oaio")
@click.option("--wipe-files", is_flag=True, help="Remove its stored versions from the storage host too, for good.")
@click.option("--yes", is_flag=True, help="Do not ask: --wipe-files is meant.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@place_options
@logs.verbose_option
def rm(
    oaio: str, wipe_files: bool, yes: bool, as_json: bool, mountpoint: Path | None, client_root: Path | None
) -> None:
    """Remove an object with all that is in it.

    It goes to the trash of this machine: `oaiofs trash restore` brings it back. After the quiet time the server is
    told: with right D or C it is deleted for all its users, with another right only you do not have it any more.

    With --wipe-files the storage host's copies go once the server has deleted it; files that were never downloaded
    can't be restored from the trash then. That asks first, and needs --yes where nobody can be asked.
    """
    place: dict[str, Any] = {"mountpoint": mountpoint, "client_root": client_root}
    if wipe_files and not yes and sys.stdin.isatty():
        words, within = named((oaio,), mountpoint, client_root)
        [one] = ask("ls", path=within, **place, words=words)["objects"]
        question = f"Remove {printable(one['name'])} and all its stored versions, for all its users, for good?"
        click.confirm(question, abort=True, err=True)
        yes = True
    answer = ask_about("rm", oaio, **place, wipe=wipe_files, yes=yes)
    click.echo(json.dumps(answer, indent=2) if as_json else _removed(answer))


# -- as text -------------------------------------------------------------------------------------------------


def lines(answer: Mapping[str, Any]) -> Iterator[str]:
    """The answer of ``ls`` for people, in columns."""
    objects = answer["objects"]
    if not objects:
        yield "No objects."
        return
    rows = [_row(one) for one in objects]
    widths = [max(map(cells, column)) for column in zip(*rows, strict=True)]
    for right, state, stamp, size, name in rows:
        yield f"{right}  {state:{widths[1]}}  {stamp:{widths[2]}}  {size:>{widths[3]}}  {name}"


def _row(one: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    stamp = one["stamp"] or "-"
    return one["right"], one["state"], printable(stamp), amount(one["size"]), printable(one["name"])


def _removed(answer: Mapping[str, Any]) -> str:
    name = printable(answer["object"])
    when = "" if answer["mounted"] else " with the next mount"
    told = f"deleted for all its users{when}" if answer["for_all"] else f"your subscription ends{when}"
    if answer["wipe"]:
        return f"{name} is in the trash; {told}, and its stored versions go after that."
    return f"{name} is in the trash; {told}. `oaiofs trash restore` brings it back."
