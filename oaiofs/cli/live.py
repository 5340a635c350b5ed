"""Text that stays in its place on a terminal while it changes: with rich where that is installed, else plainly.

Must not know what the text says. Colours are rich's to give, which leaves them out where NO_COLOR is set.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO, TypeAlias

from .words import cells, folded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Shows these lines.
Paint: TypeAlias = Callable[[Sequence[str]], None]

_HOME_AND_CLEAR = "\x1b[H\x1b[2J"


def is_live(stream: TextIO) -> bool:
    """Whether *stream* is a terminal that can paint over what it shows."""
    return stream.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown", "")


def width_of(stream: TextIO) -> int:
    """Cells in a line of the terminal *stream*, 80 where it does not say."""
    return _size(stream)[0]


def sayable(text: str, stream: TextIO) -> str:
    """*text* with what *stream*'s encoding can't say replaced: a name is no reason to fail."""
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


@contextmanager
def painting(stream: TextIO, *, keep: bool) -> Iterator[Paint | None]:
    """How to show lines on the terminal *stream*, each time in place of those before; longer ones go on below.

    What was shown last stays there at the end when it is to be *kept*. None where *stream* can't do that, or (nothing
    of it to be kept) only rich could.
    """
    if not is_live(stream):
        yield None
        return
    try:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text
    except ImportError:
        yield (lambda lines: _paint(stream, lines)) if keep else None
        return
    # Text is shown as it is: names are full of brackets, which would be markup in a str.
    console = Console(file=stream, markup=False, highlight=False, emoji=False)
    live = Live(console=console, auto_refresh=False, transient=not keep, redirect_stdout=False, redirect_stderr=False)
    with live:

        def paint(lines: Sequence[str]) -> None:
            width, height = _size(stream)
            text = Text(no_wrap=True, overflow="crop")
            for number, line in enumerate(_fitting(lines, width, height, stream)):
                text.append(line + "\n", style=_style(line, first=not number and len(lines) > 1))
            text.right_crop(1)
            live.update(text, refresh=True)

        yield paint


def _style(line: str, *, first: bool) -> str:
    if first or (line.endswith(":") and not line.startswith(" ")):
        return "bold"
    return "red" if line.startswith("  error") else ""


def _paint(stream: TextIO, lines: Sequence[str]) -> None:
    stream.write(_HOME_AND_CLEAR + "\n".join(_fitting(lines, *_size(stream), stream)) + "\n")
    stream.flush()


def _fitting(lines: Iterable[str], width: int, height: int, stream: TextIO) -> list[str]:
    """What a terminal of this size has room for, its last line left to the cursor."""
    parts = [part for line in lines for part in (folded(line, width) if cells(line) > width else (line,))]
    room = max(1, height - 1)
    shown = parts if len(parts) <= room else [*parts[: room - 1], "…"]
    return [sayable(line, stream) for line in shown]


def _size(stream: TextIO) -> tuple[int, int]:
    try:
        size = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        size = shutil.get_terminal_size()
    return (size.columns or 80, size.lines or 24)


def say(text: str) -> None:
    """Print *text* as a command's answer."""
    sys.stdout.write(sayable(text, sys.stdout) + "\n")
    sys.stdout.flush()
