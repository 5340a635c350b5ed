"""A mount that goes on after its command: fork, detach, and report once to the waiting parent.

Must not know what the work is. The fork comes before any event loop or thread of the work.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
from typing import TYPE_CHECKING

from .. import control, errors
from . import failures, logs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = logging.getLogger(__name__)


def run(work: Callable[[Callable[[], None]], None], log_file: Path, verbose: int) -> None:
    """Have a detached process do *work*, which calls what it is given once it is ready; returns then.

    Raises what ended the work before it was ready. Log lines go to *log_file*.
    """
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(reader)
        os._exit(_work_detached(work, writer, log_file, verbose))
    os.close(writer)
    with open(reader, "rb") as report:
        try:
            line = report.read()
        except KeyboardInterrupt:
            os.kill(process, signal.SIGTERM)
            raise
    if not line:
        _pid, status = os.waitpid(process, 0)
        raise errors.OaiofsError(f"The mount ended before it was ready ({_ending(status)}); {log_file} tells more.")
    control.result(line)


def _work_detached(work: Callable[[Callable[[], None]], None], writer: int, log_file: Path, verbose: int) -> int:
    def tell(report: dict[str, object]) -> None:
        with contextlib.suppress(OSError):  # told already, or nobody waits any more
            os.write(writer, json.dumps(report).encode())
            os.close(writer)

    try:
        _detach()
        logs.to_file(log_file, verbose)
        work(lambda: tell({"result": {}}))
    except BaseException as caught:
        error = failures.single(caught)
        if isinstance(error, errors.OaiofsError):
            log.error("%s", error)
        else:
            log.exception("the mount ended unexpectedly")
            bug = type(error).__name__
            error = errors.OaiofsError(f"This is a bug in oaiofs ({bug}); {log_file} has the details.")
        tell(control.error_answer(error))
        return error.exit_code
    finally:
        logging.shutdown()
    return 0


def _detach() -> None:
    os.setsid()
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(null, stream)
    os.close(null)


def _ending(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"exit code {code}" if code >= 0 else f"signal {-code}"
