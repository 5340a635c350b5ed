"""The command that takes over what an existing client has on this machine."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import clientroots, config
from ..core.names import LOCAL_ONLY
from . import logs
from .places import account_options
from .words import amount, plural, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_STATES = {"registered": "", "unsent": ", with changes that were not sent yet", "new": ", not registered yet"}


@click.command("import")
@click.argument("root", metavar="CLIENT_ROOT", type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Do it; without it only what would be done is told.")
@account_options
@click.option("--client-root", metavar="DIR", help="Where oaiofs is to keep them, as for `oaiofs mount`.")
@click.option("--device-id", metavar="ID", help="This machine's name for the servers; from the host name.")
@click.option("--app-id", metavar="ID", help="The application that new objects are made by; oaiofs.")
@click.option("--csh-id", metavar="ID", help="The storage host of new objects; Digi.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@logs.verbose_option
def import_(root: Path, yes: bool, as_json: bool, **flags: Any) -> None:
    """Take over what an existing client (ae.oaio_client) has here.

    CLIENT_ROOT is where it keeps that, ~/.config/oaio_root by default. Without --yes it is only told what would be
    done. Files are copied, nothing in CLIENT_ROOT is changed. With the next mount the objects are compared with the
    server's: what is the same is neither sent nor downloaded, and what the existing client had not sent yet is merged
    as any edit is. Nothing may be mounted with the client root. Importing again takes over what is new since.
    """
    import trio

    from ..verbs import importing

    who, options = config.account(flags)
    place = config.client_root(flags)
    clientroots.check_no_cache(place)
    defaults: dict[str, Any] = {one.name: one.default for one in dataclasses.fields(config.Settings)}
    owner = importing.Owner(
        user=who.user, server=who.server, device_id=options.device_id or config.default_device_id(),
        app_id=options.app_id or defaults["app_id"], csh_id=options.csh_id or defaults["csh_id"],
        local_only=(*LOCAL_ONLY, *(options.local_only or ())),
    )  # fmt: skip
    if yes:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    answer = trio.run(lambda: importing.run(place, root.expanduser().absolute(), owner, now=yes))
    click.echo(json.dumps(answer, indent=2, ensure_ascii=False) if as_json else "\n".join(lines(answer, str(who))))


def lines(answer: Mapping[str, Any], whose: str) -> Iterator[str]:
    """The answer as sentences."""
    for one in answer["objects"]:
        yield f"{printable(one['name'])}: {_files(one)}{_STATES[one['state']]}"
        if one["folder"] and one["files"]:
            yield f"  its files are copied from {printable(one['folder'])}"
        yield from _left_out(one["left_out"], "  ")
    yield from _left_out(answer["left_out"], "")
    count = plural(len(answer["objects"]), "object")
    if answer["done"]:
        yield f"{count} imported for {whose}. `oaiofs mount MOUNTPOINT` compares them with the server's."
    else:
        yield f"{count} would be imported for {whose}. Nothing was done: --yes does it."


def _files(one: Mapping[str, Any]) -> str:
    words = [f"{plural(one['files'], 'file')}, {amount(one['bytes'])}"] if one["files"] else ["values"]
    if one["absent"]:
        words.append(f"{plural(one['absent'], 'file')} not here, downloaded when opened")
    return ", ".join(words)


def _left_out(entries: list[Mapping[str, str]], indent: str) -> Iterator[str]:
    for one in entries:
        yield f"{indent}Left out: {printable(one['what'])}: {printable(one['why'])}"
