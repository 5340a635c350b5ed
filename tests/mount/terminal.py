"""A pseudo-terminal to drive interactive programs with: type, wait for what the screen shows, see how they ended."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

#: Seconds that a program may take to show something or to end: not so long for a test to be cut off instead.
PATIENCE = 60.0
_SIZE = "rows 40 cols 120"
# Colours, cursor movements, titles and character sets: all that is no text.
_CONTROL = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[()][0-9A-B]|\x1b[=>78cDEHMNOZ]")


class Terminal:
    """One program with a terminal of its own. Leaving the block without ``ended`` kills it."""

    def __init__(self, command: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> None:
        self._master, slave = pty.openpty()
        subprocess.run(["stty", *_SIZE.split()], stdin=slave, check=True)
        self.screen = b""  # all that was shown since the last ``wait_for``, escape sequences taken out
        self._raw = b""
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *command],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=cwd,
            env={**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8", **env},
        )
        os.close(slave)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self._master)

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    @property
    def raw(self) -> bytes:
        """What was shown since the last ``wait_for`` with its escape sequences."""
        return self._raw

    def resize(self, *, rows: int, columns: int) -> None:
        """Make the terminal another size, and tell the program."""
        termios.tcsetwinsize(self._master, (rows, columns))

    def wait_for(self, pattern: str, timeout: float = PATIENCE) -> str:
        """Read until the screen shows *pattern* (a regular expression); all that came before and with it."""
        deadline = time.monotonic() + timeout
        searched = re.compile(pattern.encode())
        while (found := searched.search(self.screen)) is None:
            if not self._read(deadline):
                raise AssertionError(f"{pattern!r} did not appear; the screen has {self.screen[-2000:]!r}")
        shown, self._raw = self.screen[: found.end()], self.screen[found.end() :]
        self.screen = self._raw
        return shown.decode(errors="replace")

    def ended(self, timeout: float = PATIENCE) -> int:
        """Read until the program ends; its exit code."""
        deadline = time.monotonic() + timeout
        while self._read(deadline):
            pass
        return self.process.wait(max(0.1, deadline - time.monotonic()))

    def _read(self, deadline: float) -> bool:
        """Take what the program wrote; False at its end or when the time is over."""
        ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # EIO: nobody has the other side any more
            return False
        self._raw = (self._raw + data)[-200_000:]
        self.screen = _CONTROL.sub(b"", self._raw)
        return bool(data)
