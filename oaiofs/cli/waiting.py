"""Waiting for a mount that sends and fetches all there is, and showing how far it is.

On a terminal one line stays in its place (with rich); elsewhere a line is said now and then, more and more seldom, on
standard error: standard output is the command's answer only.
"""

from __future__ import annotations

import math
import sys
import threading
from typing import TYPE_CHECKING, Any

import click

from .. import control, errors
from . import live, progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

#: Seconds between two looks where a line is painted over.
_REPAINT = 0.5
#: Seconds before a line is said and until the next one; each later one takes twice as long, up to the longest.
_FIRST_WORD, _LONGEST_SILENCE = 10.0, 60.0
#: Seconds that the mount has for telling how far it is.
_LOOK_TIMEOUT = 5.0
#: Cells of a line where nobody says how wide the terminal is.
_WIDE = 200

#: Seconds: longer than anybody waits, and still few enough for a socket's clock.
_LONGEST = 10 * 365 * 86400.0

quiet_option = click.option("-q", "--quiet", is_flag=True, help="Do not show how far it is.")


class _Seconds(click.FloatRange):
    """Seconds that can be waited: ``nan`` and ``inf`` are floats, too."""

    def __init__(self) -> None:
        super().__init__(min=0, max=_LONGEST)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        seconds: float = super().convert(value, param, ctx)
        return seconds if not math.isnan(seconds) else self.fail(f"{value!r} is no number of seconds.", param, ctx)


def timeout_option(help_text: str) -> Callable[[Any], Any]:
    """``--timeout``, for how long is waited."""
    return click.option("--timeout", type=_Seconds(), metavar="S", help=help_text)


def call(
    mount: control.RunningMount, verb: str, timeout: float | None, *, quiet: bool, **arguments: Any
) -> dict[str, Any]:
    """``control.call``, with progress shown meanwhile unless *quiet*."""
    if quiet:
        return control.call(mount, verb, timeout, **arguments)
    answered = _Answer(lambda: control.call(mount, verb, timeout, **arguments))
    with live.painting(sys.stderr, keep=False) as paint:
        if paint is None:
            for line in _lines(answered, mount, _silences(), lambda: _WIDE):
                click.echo(f"oaiofs: {live.sayable(line, sys.stderr)}", err=True)
        else:
            for line in _lines(answered, mount, _steadily(), lambda: live.width_of(sys.stderr)):
                paint([line])
    return answered.result()


class _Answer:
    """What *ask* returns or raises, found out in a thread that an interrupted command leaves behind as it ends."""

    def __init__(self, ask: Callable[[], dict[str, Any]]) -> None:
        self._ask = ask
        self._result: dict[str, Any] = {}
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = self._ask()
        except BaseException as error:
            self._error = error

    def wait(self, seconds: float | None = None) -> bool:
        """Whether it is there, after at most so many *seconds*."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def result(self) -> dict[str, Any]:
        """Blocks until it is there."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._result


def _lines(
    answered: _Answer, mount: control.RunningMount, pauses: Iterator[float], width: Callable[[], int]
) -> Iterator[str]:
    """How far it is, told after each of the *pauses* until it is *answered*."""
    if answered.wait(_REPAINT) or (first := _look(mount)) is None:
        return
    for pause in pauses:
        if answered.wait(pause) or (brief := _look(mount)) is None:
            return
        yield progress.waiting_line(brief, progress.moved_before(first), width())


def _look(mount: control.RunningMount) -> Mapping[str, Any] | None:
    """How far the mount is; None where it does not say: it may be ending."""
    try:
        return control.call(mount, "status", _LOOK_TIMEOUT, brief=True)
    except errors.OaiofsError:
        return None


def _steadily() -> Iterator[float]:
    while True:
        yield _REPAINT


def _silences() -> Iterator[float]:
    pause = _FIRST_WORD
    while True:
        yield pause
        pause = min(pause * 2, _LONGEST_SILENCE)
