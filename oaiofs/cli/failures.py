"""The one place where errors become exit codes and sentences for the user."""

from __future__ import annotations

import traceback

import click
import platformdirs

from .. import errors
from . import logs

#: What shells give a program that Ctrl-C ended: 128 + SIGINT.
_INTERRUPTED = 130


def explain(error: BaseException, verbose: int) -> int:
    """Say on standard error what *error* means to the user; the answer is the exit code."""
    error = single(error)
    match error:
        case click.exceptions.NoArgsIsHelpError():
            error.show()
            return error.exit_code
        case errors.OaiofsError():
            _say(str(error))
            return error.exit_code
        case click.ClickException():
            _say(_usage(error))
            return error.exit_code
        case KeyboardInterrupt() | click.Abort():
            _say("Interrupted.")
            return _INTERRUPTED
        case OSError() if error.strerror:
            _say(f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror}.")
        case _:
            _explain_bug(error, verbose)
    return errors.OaiofsError.exit_code


def single(error: BaseException) -> BaseException:
    """The one error that a group of trio's nurseries holds, if it is one."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _usage(error: click.ClickException) -> str:
    message = error.format_message()
    context = getattr(error, "ctx", None)
    return f"{message} See `{context.command_path} --help`." if context is not None else message


def _explain_bug(error: BaseException, verbose: int) -> None:
    if verbose:
        traceback.print_exception(error)
    place = platformdirs.user_state_path("oaiofs") / "bugs.log"
    try:
        logs.keep_traceback(place, error)
        _say(f"This is a bug in oaiofs ({type(error).__name__}); {place} has the details.")
    except OSError:
        _say(f"This is a bug in oaiofs ({type(error).__name__}); the same command with -v shows the details.")


def _say(sentence: str) -> None:
    click.echo(f"oaiofs: {sentence}", err=True)
