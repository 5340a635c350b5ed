"""Where log lines go: standard error in the foreground, a rotated file of the user's own behind it."""

from __future__ import annotations

import logging
import logging.handlers
import os
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import TextIOWrapper
    from pathlib import Path

_MAX_BYTES = 4 * 1024 * 1024
_KEPT = 3
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
#: They log headers, and so tokens and passwords, when asked for details.
_TALKATIVE = ("httpx", "httpcore", "hpack", "h11")

_Function = TypeVar("_Function", bound="Callable[..., Any]")


@dataclass
class Verbosity:
    """How often ``-v`` was given, before and behind the command's name."""

    level: int = 0


def verbose_option(function: _Function) -> _Function:
    """The option ``-v`` of every command."""

    def count(context: click.Context, _parameter: click.Parameter, times: int) -> None:
        context.ensure_object(Verbosity).level += times

    option = click.option(
        "-v", "--verbose", count=True, expose_value=False, callback=count, help="Say more; -vv: say everything."
    )
    return option(function)


def to_stderr(verbose: int) -> None:
    """Log warnings to standard error; more with *verbose*."""
    _install(logging.StreamHandler(), (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)])


def of_command(*, but: str = "") -> None:
    """Have a command that does its work itself warn its user in sentences; with ``-v`` as a log, and more.

    Warnings of the logger *but* are for the latter only.
    """
    verbose = click.get_current_context().ensure_object(Verbosity).level
    to_stderr(verbose)
    if not verbose:
        logging.getLogger().handlers[0].setFormatter(logging.Formatter("oaiofs: %(message)s"))
        if but:
            logging.getLogger(but).setLevel(logging.ERROR)


def to_file(path: Path, verbose: int) -> None:
    """Log what happens to *path*, kept to four files of 4 MiB that only their owner can read."""
    _install(_PrivateFile(path, maxBytes=_MAX_BYTES, backupCount=_KEPT), logging.DEBUG if verbose > 1 else logging.INFO)


def keep_traceback(path: Path, error: BaseException) -> None:
    """Append *error* and where it came from to *path*. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handler = _PrivateFile(path, maxBytes=_MAX_BYTES, backupCount=1)
    try:
        text = f"{datetime.now(UTC).isoformat()}\n{''.join(traceback.format_exception(error))}"
        handler.emit(logging.LogRecord("oaiofs", logging.ERROR, __file__, 0, text, None, None))
    finally:
        handler.close()


class _PrivateFile(logging.handlers.RotatingFileHandler):
    """A rotated log file with mode 0600 from its first moment on."""

    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, "a", encoding="utf-8", errors="backslashreplace", opener=_open_private)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def _install(handler: logging.Handler, level: int) -> None:
    handler.setFormatter(logging.Formatter(_FORMAT))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
