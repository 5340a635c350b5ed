"""The session with the kernel: begun, served, written back, ended. One per process, as pyfuse3 has it.

Must not know what is served.
"""

from __future__ import annotations

import errno
import logging
import os
import subprocess
from pathlib import Path

import pyfuse3

log = logging.getLogger(__name__)

#: Calls that are under way at once: when as many wait for the network, nothing more is answered. One that waits takes
#: about 12 KiB, and a MiB of address space that stays empty.
_MOST_CALLS = 2000
#: Requests that the kernel makes by itself: so many are under way at most, and without a word of ours. Each may be a
#: write of a MiB, held twice while a slow disk takes it: more would be memory that grows with what is written.
_MOST_OF_KERNEL, _USUAL_OF_KERNEL = 24, 12
_CONNECTIONS = Path("/sys/fs/fuse/connections")


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """Whether this is not pyfuse3's word that nobody waits for an answer any more: a killed program, or an ended mount.

    write(2) on /dev/fuse says ENOENT then, and nothing is wrong.
    """
    said = record.getMessage()
    return not ("fuse_reply_" in said and said.endswith(f" failed with {os.strerror(errno.ENOENT)}"))


async def serve() -> None:
    """Answer the kernel until the mount is taken away; ``attach`` came before.

    Also when the kernel breaks the connection off: for an administrator (``/sys/fs/fuse/connections``), or when it goes
    in the very moment in which a request is taken from it.
    """
    try:
        await pyfuse3.main(min_tasks=4, max_tasks=_MOST_CALLS)
    except* OSError as broken:
        if any(getattr(error, "errno", None) != errno.ECONNABORTED for error in broken.exceptions):
            raise
        log.info("the kernel has broken the mount off")


def attach(operations: pyfuse3.Operations, mountpoint: str, options: set[str]) -> None:
    """Mount. Raises OSError and RuntimeError of libfuse's."""
    logging.getLogger("pyfuse3").addFilter(_is_worth_a_line)
    pyfuse3.init(operations, mountpoint, {*options, *_own_options()})


def widen(device: str) -> None:
    """Have the kernel keep more requests of its own under way; *device*: the mount's, as ``mountinfo`` has it.

    What is read into its cache and what is written back share them: a dozen programs that wait for the network as they
    read would keep all others' writes from getting here. Nothing happens where the system has no fusectl mounted, and
    users get no more than the kernel grants them. Blocks, hardly ever for long.
    """
    folder = _CONNECTIONS / device.rpartition(":")[2]
    most = _MOST_OF_KERNEL
    while most > _USUAL_OF_KERNEL:
        try:
            (folder / "max_background").write_text(str(most))
            (folder / "congestion_threshold").write_text(str(most * 3 // 4))
        except OSError as error:
            if error.errno != errno.EINVAL:
                log.debug("the kernel's own requests stay as few as they are: %s", error)
                return
            most //= 2
        else:
            return


def detach(*, unmount: bool) -> None:
    """Let go of the mount; with *unmount* also take it out of the tree."""
    pyfuse3.close(unmount=unmount)


def stop() -> None:
    """Make ``serve`` return."""
    pyfuse3.terminate()


def write_back(root: int) -> None:
    """Have the kernel begin to send what it holds of written files; *root* is a descriptor in the mount. Blocks.

    In a process of its own: pyfuse3's syncfs keeps the interpreter's lock, without which nobody here could answer. And
    a process that waits in the kernel for its own answer can't be killed: it would keep /dev/fuse open for ever.
    Raises OSError.
    """
    command = ["sync", "--file-system", f"/proc/self/fd/{root}"]
    done = subprocess.run(command, pass_fds=(root,), stdin=subprocess.DEVNULL, capture_output=True, check=False)  # noqa: S603
    if done.returncode != 0:
        raise OSError(errno.EIO, os.fsdecode(done.stderr).strip())


def _own_options() -> set[str]:
    return {"fsname=oaiofs", "subtype=oaiofs", "default_permissions"}
