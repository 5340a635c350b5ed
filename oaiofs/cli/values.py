"""The commands about an object's values, one by one or all."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import errors
from ..core import sidecar
from . import logs
from .places import ask_about, place_options
from .words import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What begins so is meant to be JSON, and a slip of the pen in it is not to become a text.
_JSON_BEGINS = ("{", "[", '"')


@click.command()
@click.argument("oaio")
@click.argument("key", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, in which a text is a JSON text too.")
@place_options
@logs.verbose_option
def get(oaio: str, key: str | None, as_json: bool, mountpoint: Path | None, client_root: Path | None) -> None:
    """Print the value at KEY, or all values: a text as it is, anything else as JSON.

    KEY is a path of keys with dots between them, as in two.x; a key with a dot or quote in it is in double quotes.
    """
    answer = ask_about("get", oaio, mountpoint, client_root, key=key)
    click.echo(json.dumps(answer, indent=2) if as_json else as_text(answer, for_terminal=sys.stdout.isatty()))


@click.command("set", context_settings={"ignore_unknown_options": True})
@click.argument("oaio")
@click.argument("key")
@click.argument("value", required=False)
@click.option("--text", is_flag=True, help="VALUE is a text, whatever it looks like.")
@click.option("--remove", is_flag=True, help="Take the value at KEY away.")
@place_options
@logs.verbose_option
def set_(
    oaio: str, key: str, value: str | None, text: bool, remove: bool, mountpoint: Path | None, client_root: Path | None
) -> None:
    """Set the value at KEY, making the objects on the way to it.

    VALUE is JSON where it is that (5, true, null, "5", [1, 2], {"x": 1}), else a text. What begins like JSON's texts,
    lists and objects but is none is refused; --text takes it as it is. The change is an edit like any other: here at
    once, on the servers after the quiet time.
    """
    if remove == (value is not None):
        raise errors.UsageError("Give either a VALUE or --remove.")
    wanted = {} if value is None else {"value": value if text else read_value(value)}
    ask_about("set", oaio, mountpoint, client_root, key=key, **wanted)


# -- as text -------------------------------------------------------------------------------------------------


def read_value(text: str) -> Any:
    """What a word of the command line stands for. Raises UsageError, InvalidSidecar for JSON that values can't hold."""
    try:
        json.loads(text, parse_constant=_no_number, parse_int=str)
    except (ValueError, RecursionError):
        if text.lstrip().startswith(_JSON_BEGINS):
            raise errors.UsageError(f"{text} begins like JSON, but is none: correct it, or say --text.") from None
        return text
    return sidecar.parse(f'{{"value": {text}}}'.encode(errors="surrogatepass"))["value"]


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number in JSON")


def as_text(answer: Mapping[str, Any], *, for_terminal: bool = False) -> str:
    """A value for people and scripts; *for_terminal* without what could move its cursor."""
    value = answer["value"]
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    if for_terminal:
        return "\n".join(printable(line.expandtabs()) for line in text.split("\n"))
    return text
