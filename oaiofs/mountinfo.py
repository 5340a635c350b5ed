"""What the kernel has mounted: ``/proc/self/mountinfo``, see proc_pid_mountinfo(5). Only ``is_dead`` touches it."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

from . import errors

_TABLE = "/proc/self/mountinfo"
_ESCAPED = re.compile(rb"\\([0-7]{3})")
_UNMOUNT_TIMEOUT = 30.0
_GLANCES, _BETWEEN = 10, 0.1  # so often it is found in use, so many seconds apart, before that is said


class Mounted(NamedTuple):
    """One mounted file system."""

    mountpoint: Path
    kind: str
    source: str
    device: str  # of this one mount, while it lasts

    @property
    def is_oaiofs(self) -> bool:
        return self.kind == "fuse.oaiofs"


def obstacle() -> str:
    """What keeps this user from mounting with FUSE, and what to do about it; '' where nothing is seen to."""
    if not os.path.exists("/dev/fuse"):
        return "this system has no /dev/fuse (in a container: run it with --device /dev/fuse)"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "this user may not open /dev/fuse; its mode is 0666 on most systems: `sudo chmod 666 /dev/fuse`"
    if os.getuid() != 0 and shutil.which("fusermount3") is None:
        return "there is no fusermount3, without which only root can mount: install the system's package fuse3"
    return ""


def of_oaiofs() -> list[Mounted]:
    """All mounts of oaiofs on this machine, running or left behind."""
    with open(_TABLE, "rb") as table:
        return [mounted for mounted in map(_parse, table.read().splitlines()) if mounted.is_oaiofs]


def at(mountpoint: Path) -> Mounted | None:
    """The file system that is mounted last at exactly *mountpoint*, a path free of symbolic links."""
    with open(_TABLE, "rb") as table:
        return _last(table.read(), mountpoint)


def is_dead(mountpoint: Path) -> bool:
    """Whether the process of the mount at *mountpoint* is gone. Blocks while a living one does not answer.

    Raises OSError where it can't be told, as of another user's.
    """
    try:
        os.statvfs(mountpoint)  # stat alone the kernel answers from its memory, also for a dead one
    except OSError as error:
        if error.errno not in (errno.ENOTCONN, errno.ECONNABORTED):
            raise
        return True
    return False


def _last(table: bytes, mountpoint: Path) -> Mounted | None:
    found = None
    for line in table.splitlines():
        mounted = _parse(line)
        if mounted.mountpoint == mountpoint:
            found = mounted
    return found


def _parse(line: bytes) -> Mounted:
    before, _separator, after = line.partition(b" - ")
    kind, source = after.split()[:2]
    fields = before.split()
    return Mounted(Path(_unescape(fields[4])), _unescape(kind), _unescape(source), _unescape(fields[2]))


def _unescape(field: bytes) -> str:
    return os.fsdecode(_ESCAPED.sub(lambda match: bytes([int(match[1], 8)]), field))


def wait_gone(mountpoint: Path, timeout: float) -> bool:
    """Wait until nothing of oaiofs is mounted at *mountpoint*, at most *timeout* seconds; whether it is so."""
    deadline = time.monotonic() + timeout
    with open(_TABLE, "rb") as table:
        changes = select.poll()
        changes.register(table, select.POLLPRI)
        while True:
            table.seek(0)
            mounted = _last(table.read(), mountpoint)
            if mounted is None or not mounted.is_oaiofs:
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            changes.poll(left * 1000)


def wait_ended(process: int, timeout: float) -> None:
    """Wait until *process* is no more, at most *timeout* seconds."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        descriptor = os.pidfd_open(process)
        try:
            select.select([descriptor], [], [], timeout)
        finally:
            os.close(descriptor)


def remove(mountpoint: Path, *, lazy: bool = False) -> None:
    """Take a mount out of the tree; *lazy*: also while it is in use, whose programs keep what they have open.

    Blocks, for a moment also while some program such as df(1) only looks at it. Raises Busy or OaiofsError with what
    the system's command says.
    """
    words = ["umount"] if os.getuid() == 0 else ["fusermount3", "-u"]
    command = [*words, *((["-l"] if os.getuid() == 0 else ["-z"]) if lazy else []), "--", str(mountpoint)]
    try:
        for tried in range(1 if lazy else _GLANCES):
            time.sleep(_BETWEEN if tried else 0)
            done = subprocess.run(command, capture_output=True, timeout=_UNMOUNT_TIMEOUT, check=False)  # noqa: S603
            if done.returncode == 0:
                return
    except (OSError, subprocess.TimeoutExpired) as error:
        raise errors.OaiofsError(f"{mountpoint} can't be unmounted: `{command[0]}` did not run ({error}).") from error
    said = os.fsdecode(done.stderr).strip()
    raise errors.Busy(
        f"{mountpoint} is in use ({said}): close what programs have open there and try again; "
        f"`fuser -vm {mountpoint}` shows who."
    )
