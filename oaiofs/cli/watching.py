"""The commands that look at a running mount and wait for it."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from .. import control
from . import live, logs, places, report, waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .live import Paint

#: Seconds between two looks of ``--watch``.
_REPAINT = 1.0
#: Seconds that a mount has for telling its status, which it keeps ready.
_STATUS_TIMEOUT = 10.0
#: How many times as long as telling it all takes is waited before it is asked for again.
_SHARE = 20
#: The longest such pause: a machine that was busy once is not the reason to say nothing for minutes.
_LONGEST_PAUSE = 15.0
#: Cells of a status that is not painted over.
_WIDTH = 100


@click.command()
@click.argument("mountpoint", required=False, type=click.Path(path_type=Path))
@waiting.timeout_option("Give up after S seconds, with exit code 6.")
@click.option("--yes", is_flag=True, help="Removing many objects at once is meant: let it happen.")
@click.option("--client-root", type=click.Path(path_type=Path), metavar="DIR", help="Of this one, mounted or not.")
@waiting.quiet_option
@logs.verbose_option
def sync(mountpoint: Path | None, timeout: float | None, yes: bool, client_root: Path | None, quiet: bool) -> None:
    """Wait until both sides have every change.

    Every local one is on the servers then, and every remote one is here. Meanwhile standard error tells how far it is.
    With --client-root it needs no mount: what commands changed there goes out now.
    """
    mount = None if client_root is None else places.mount_of(client_root)
    if client_root is not None and mount is None:
        places.synchronize(client_root.absolute(), timeout, confirmed=yes)
        click.echo(f"{client_root}: every change is on the servers, and every one of theirs is known here.")
        return
    mount = mount or control.find(mountpoint)
    answer = waiting.call(mount, "sync", timeout, quiet=quiet, yes=yes)
    if report.count(answer.get("needing_user")):
        click.echo(f"{mount.mountpoint}: what can go is on the servers; `oaiofs status` shows what needs you.")
    else:
        click.echo(f"{mount.mountpoint}: every change is on the servers, and every one of theirs is known here.")


@click.command()
@click.argument("path", metavar="[MOUNTPOINT|PATH]", required=False, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (with --watch: one a line).")
@click.option("--watch", is_flag=True, help="Look again every second until Ctrl-C.")
@logs.verbose_option
def status(path: Path | None, as_json: bool, watch: bool) -> None:
    """Tell how a mount does, or an object in it.

    For the object, give its PATH or that of a file in it.
    """
    mount = control.find(path)
    inside = None if path is None else places.inside(mount, path)
    arguments = {"path": inside} if inside else {}

    def look(**more: Any) -> dict[str, Any]:
        return control.call(mount, "status", _STATUS_TIMEOUT, **arguments, **more)

    if watch:
        with contextlib.suppress(KeyboardInterrupt):  # the way to end it
            _watch(look, as_json=as_json, whole=not arguments)
    elif as_json:
        _say_json(look(), indent=2)
    else:
        live.say("\n".join(_text(look(), whole=not arguments)))


def _text(answer: Mapping[str, Any], *, whole: bool, width: int = _WIDTH) -> list[str]:
    now = datetime.now(UTC)
    return report.lines(answer, now, width=width) if whole else report.object_lines(answer, now, width=width)


def _say_json(answer: Mapping[str, Any], indent: int | None = None) -> None:
    """As the terminal can show it: escapes where it has no letter for something, and no byte is lost in any case."""
    text = json.dumps(answer, indent=indent, ensure_ascii=False)
    click.echo(text if live.sayable(text, sys.stdout) == text else json.dumps(answer, indent=indent))


def _watch(look: Callable[..., dict[str, Any]], *, as_json: bool, whole: bool) -> None:
    """Repaint a terminal; anything else gets one line for each change. Ends when the mount does: raises NotMounted."""
    if as_json:
        _say_changes(look, _say_json)
    with live.painting(sys.stdout, keep=True) as paint:
        if paint is None:
            _say_changes(look, lambda answer: live.say(report.summary(answer, datetime.now(UTC))))
        else:
            _repaint(look, paint, whole=whole)


def _repaint(look: Callable[..., dict[str, Any]], paint: Paint, *, whole: bool) -> NoReturn:
    """What is cheap to tell is asked for each time, the rest as often as it costs little."""
    while True:
        begun = time.monotonic()
        answer = look()
        until = time.monotonic() + _pause_after(time.monotonic() - begun)
        while True:
            paint(_text(answer, whole=whole, width=live.width_of(sys.stdout)))
            time.sleep(_REPAINT)
            if not whole or time.monotonic() >= until:
                break
            answer |= look(brief=True)


def _say_changes(look: Callable[..., dict[str, Any]], say: Callable[[dict[str, Any]], None]) -> NoReturn:
    before: dict[str, Any] = {}
    while True:
        begun = time.monotonic()
        answer = look()
        pause = max(_REPAINT, _pause_after(time.monotonic() - begun))
        if answer != before:
            say(answer)
        before = answer
        time.sleep(pause)


def _pause_after(cost: float) -> float:
    return min(_SHARE * cost, _LONGEST_PAUSE)
