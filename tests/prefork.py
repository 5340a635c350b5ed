"""Processes of oaiofs that begin at once: forked from one that has loaded all of it.

Loading takes most of the time that a mount needs to begin, or a command as a whole, and the tests begin thousands of
them. What is forked has done nothing before; it goes on as ``python -m oaiofs`` does. ``clikit.command`` and mounts
that are ``fresh`` begin the usual way, and with --long all do.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Protocol

from tests import depth

REPOSITORY = Path(__file__).parent.parent
_LONGEST_MESSAGE = 128 * 1024
_STREAMS = 3
#: No descriptor of the process that forks is as high as this.
_MOST_OPEN = 1024


class Process(Protocol):
    """What tests use of a ``subprocess.Popen``."""

    pid: int

    @property
    def returncode(self) -> int | Any: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


class Forked:
    """A process that was forked for us; *report* brings its pid, and its exit code once it has ended."""

    def __init__(self, report: socket.socket) -> None:
        self._report = report
        self._lock = threading.Lock()
        self.returncode: int | None = None
        self.pid = int(report.recv(100))

    def poll(self) -> int | None:
        with self._lock:
            if self.returncode is None and select.select([self._report], [], [], 0)[0]:
                self.returncode = int(self._report.recv(100))
                self._report.close()
            return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        deadline = float("inf") if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise subprocess.TimeoutExpired("oaiofs", timeout or 0.0)
            with contextlib.suppress(ValueError, OSError):  # another thread has seen the end
                select.select([self._report], [], [], min(left, 1.0))
        return code

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, sig)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def begin(
    words: list[str], output: IO[Any], errors: IO[Any], env: Mapping[str, str], cwd: Path, *, fresh: bool = False
) -> Process:
    """Begin ``oaiofs WORDS`` in a session of its own, with nothing to read; *fresh*: with an interpreter of its own."""
    if fresh or depth.is_long():
        return subprocess.Popen(
            [sys.executable, "-m", "oaiofs", *words], stdin=subprocess.DEVNULL, stdout=output, stderr=errors, env=env,
            cwd=cwd, start_new_session=True,
        )  # fmt: skip
    message = json.dumps({"words": words, "env": dict(env), "cwd": str(cwd), "umask": _umask()}).encode()
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its, open(os.devnull, "rb") as nothing:
        socket.send_fds(_parent(), [message], [nothing.fileno(), output.fileno(), errors.fileno(), its.fileno()])
    return Forked(ours)


def run(
    words: list[str], env: Mapping[str, str], cwd: Path, timeout: float, *, fresh: bool = False
) -> subprocess.CompletedProcess[str]:
    """What ``oaiofs WORDS`` says and how it ends. Raises subprocess.TimeoutExpired; then it is killed."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = begin(words, output, errors, env, cwd, fresh=fresh)
        try:
            code = process.wait(timeout)
        except BaseException:
            process.kill()
            process.wait()
            raise
        texts = []
        for file in (output, errors):
            file.seek(0)
            texts.append(file.read())
    return subprocess.CompletedProcess(words, code, *texts)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@functools.cache
def _parent() -> socket.socket:
    """The door of the process that forks, one for each process of the tests; it ends when the door is closed."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-m", "tests.prefork", str(its.fileno())]
    with its:
        process = subprocess.Popen(command, pass_fds=[its.fileno()], cwd=REPOSITORY, stdin=subprocess.DEVNULL)

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


# -- in the process that forks -----------------------------------------------------------------------------------


def _load() -> None:
    import pkgutil
    from importlib import import_module

    import oaiofs

    for found in pkgutil.walk_packages(oaiofs.__path__, "oaiofs."):
        if not found.name.startswith("oaiofs.server") and not found.name.endswith("__main__"):
            import_module(found.name)


def _serve(door: socket.socket) -> dict[str, Any] | None:
    """Fork for whoever asks; returns in each child what it is to do, and in the parent None at the end."""
    reader, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    children: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([door.fileno(), reader], [], [])
        if reader in ready:
            os.read(reader, 4096)
            for pid, code in _ended():
                with children.pop(pid) as report, contextlib.suppress(OSError):
                    report.send(b"%d" % code)
        if door.fileno() in ready:
            message, given, _, _ = socket.recv_fds(door, _LONGEST_MESSAGE, _STREAMS + 1)
            if not message:
                return None
            pid = os.fork()
            if pid == 0:
                for inherited in (door, *children.values()):
                    inherited.detach()
                _become(given[:_STREAMS])
                job: dict[str, Any] = json.loads(message)
                return job
            for descriptor in given[:_STREAMS]:
                os.close(descriptor)
            children[pid] = socket.socket(fileno=given[_STREAMS])
            children[pid].send(b"%d" % pid)


def _ended() -> Iterator[tuple[int, int]]:
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            yield pid, os.waitstatus_to_exitcode(status)


def _become(streams: list[int]) -> None:
    """In the child: as a process is that was just begun."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
    os.closerange(_STREAMS, _MOST_OPEN)


def _main() -> None:
    door = socket.socket(fileno=int(sys.argv[1]))
    _load()
    job = _serve(door)
    if job is None:
        return
    os.umask(job["umask"])
    os.chdir(job["cwd"])
    os.environ.clear()
    os.environ.update(job["env"])
    sys.argv = ["oaiofs", *job["words"]]
    from oaiofs.cli import main

    main()


if __name__ == "__main__":
    _main()
