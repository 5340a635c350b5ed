"""The server as a child process: how it is started, how it tells that it is ready, how it ends.

Must not know Django or what the server does. The parent binds and listens, so the address is known at once and no
request comes too early; the child inherits the socket and writes one word, or the sentence of its failure, to a pipe.
The child ends on SIGTERM, and by PR_SET_PDEATHSIG (prctl(2)) also when its parent is killed.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import trio

from .. import errors
from .site import require_django

READY = b"ready"
#: Seconds for an orderly end before the child is killed.
PATIENCE = 10.0


class Child:
    """A started server: *url* is valid at once, requests wait until it is ready."""

    def __init__(self, url: str, process: subprocess.Popen[bytes], report: int) -> None:
        self.url = url
        self.process = process
        self.report = report

    def check_report(self, text: bytes) -> None:
        """Raises StateError where *text*, all that the child reported, is not that it is ready."""
        if text != READY:
            sentence = text.decode(errors="replace") or "The server ended before it was ready; its messages tell why."
            raise errors.StateError(sentence)

    def wait_ready(self) -> None:
        """Block until requests are answered. Raises StateError where the server could not start."""
        with open(self.report, "rb", closefd=False) as report:
            self.check_report(report.read())

    def stop(self, patience: float = PATIENCE) -> None:
        """Block until the child has ended and is reaped; kill it where it takes more than *patience* seconds."""
        os.close(self.report)
        self.process.terminate()
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def spawn(data: Path, port: int = 0, arguments: Sequence[str] = ()) -> Child:
    """Start a server on *data* at 127.0.0.1; takes some milliseconds.

    To be called in a thread that lives as long as the child shall: the kernel sends PDEATHSIG when the *thread* that
    made the child ends, so a worker thread that idles out would take the server with it. Raises UsageError, StateError.
    """
    require_django()
    try:
        listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    except OSError as error:
        raise errors.StateError(f"The server can't listen on 127.0.0.1, port {port}: {error.strerror}.") from error
    report, child_report = os.pipe()
    try:
        with listener:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            process = _popen(data, listener.fileno(), child_report, arguments)
    except BaseException:
        os.close(report)
        raise
    finally:
        os.close(child_report)
    return Child(url, process, report)


@contextlib.asynccontextmanager
async def running(data: Path, port: int = 0) -> AsyncIterator[str]:
    """A server on *data* for as long as the block runs; yields its URL, ``http://127.0.0.1:PORT``.

    Raises UsageError, StateError where it could not start.
    """
    child = spawn(data, port)
    try:
        async with trio.lowlevel.FdStream(os.dup(child.report)) as report:
            child.check_report(b"".join([part async for part in report]))
        yield child.url
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(child.stop)


def _popen(data: Path, listener: int, report: int, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", __package__, "--data", os.fspath(data), "--fd", str(listener)]
    command += ["--report-fd", str(report), "--parent", str(os.getpid()), *arguments]
    package_root = str(Path(__file__).resolve().parents[2])
    paths = [package_root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(  # noqa: S603 - our own interpreter and module
        command,
        pass_fds=(listener, report),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        # own session: Ctrl-C in the terminal is the parent's to handle, which then ends the child in good order
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
