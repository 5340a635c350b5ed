"""The commands about who may use an object. User names come from the server: see ``printable``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import logs
from .places import ask, ask_about, place_options
from .words import cells, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MEANING = {"r": "may read", "U": "may change", "D": "may change and delete", "C": "may change, delete and share"}
_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.command()
@click.argument("oaio", required=False)
@_json_option
@place_options
@logs.verbose_option
def users(oaio: str | None, as_json: bool, mountpoint: Path | None, client_root: Path | None) -> None:
    """Tell who has which right on an object.

    Without an OAIO: which users the server has.
    """
    if oaio is None:
        answer = ask("users", mountpoint=mountpoint, client_root=client_root)
    else:
        answer = ask_about("users", oaio, mountpoint, client_root)
    click.echo(json.dumps(answer, indent=2) if as_json else "\n".join(lines(answer)))


@click.command()
@click.argument("oaio")
@click.argument("user")
@click.argument("right", type=click.Choice(list(_MEANING)), default="r")
@_json_option
@place_options
@logs.verbose_option
def share(oaio: str, user: str, right: str, as_json: bool, mountpoint: Path | None, client_root: Path | None) -> None:
    """Give USER a right on an object.

    RIGHT is r to read (the default), U to change, D also to delete, C also to share. OAIO is its path in the mount, its
    name or its id. Needs right C. Giving another right changes the one there is.
    """
    answer = ask_about("share", oaio, mountpoint, client_root, user=user, right=right)
    name = printable(answer["object"])
    done = f"{printable(user)} {_MEANING[right]} {name}."
    click.echo(json.dumps(answer, indent=2) if as_json else done)


@click.command()
@click.argument("oaio")
@click.argument("user")
@_json_option
@place_options
@logs.verbose_option
def unshare(oaio: str, user: str, as_json: bool, mountpoint: Path | None, client_root: Path | None) -> None:
    """Take an object away from USER. Needs right C, but for yourself.

    What USER has changed and not sent yet stays on that machine. The creator's own right stays as it is.
    """
    answer = ask_about("unshare", oaio, mountpoint, client_root, user=user)
    done = f"{printable(user)} does not have {printable(answer['object'])} any more."
    click.echo(json.dumps(answer, indent=2) if as_json else done)


# -- as text -------------------------------------------------------------------------------------------------


def lines(answer: Mapping[str, Any]) -> Iterator[str]:
    """The answer of ``users`` for people."""
    found = answer["users"]
    width = max((cells(printable(one["user"])) for one in found), default=0)
    for one in found:
        yield printable(one["user"]) if "right" not in one else _with_right(one, width)


def _with_right(one: Mapping[str, Any], width: int) -> str:
    name = printable(one["user"])
    return f"{one['right']}  {name}{' ' * (width - cells(name))}  {_MEANING[one['right']]}{', you' * one['me']}"
