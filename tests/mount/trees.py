"""Running programs on folder trees, and what is in a tree: for comparing a mount with a plain disk."""

from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tests.mountkit import MountKit, tree

SIDECAR = "values.json"


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not shutil.which(program), reason=f"needs {program}")


def run(*command: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Run a program that must succeed and have nothing to complain about; what it printed."""
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, ""), f"{command[0]} ended with {done.returncode}: {done.stderr}"
    return done.stdout


def waits_for_mount(pid: int) -> bool:
    """Whether the process is in the kernel, waiting for a mount's answer or for a page of a file in one."""
    place = Path(f"/proc/{pid}/wchan").read_text() + Path(f"/proc/{pid}/stack").read_text()
    return "fuse" in place or "folio" in place


def remount(kit: MountKit) -> None:
    kit.stop()
    kit.start()


def arrived(d1: MountKit, d2: MountKit, name: str) -> Path:
    """Let the object *name* travel to the other device; its directory there."""
    d1.sync()
    d2.sync()
    return d2.path / name


def details(folder: Path) -> dict[str, tuple[int, int, bytes | None]]:
    """Mode, mtime and bytes of everything below *folder* but the sidecar."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.stat()
        data = None if stat.S_ISDIR(status.st_mode) else path.read_bytes()
        found[path.relative_to(folder).as_posix()] = (status.st_mode, status.st_mtime_ns, data)
    found.pop(SIDECAR, None)
    return found


def without_times(folder: Path) -> dict[str, tuple[int, bytes | None]]:
    return {path: (mode, data) for path, (mode, _, data) in details(folder).items()}


def files(folder: Path) -> dict[str, bytes]:
    """All files below *folder* but the sidecar: what travels."""
    return {path: data for path, data in tree(folder).items() if data is not None and path != SIDECAR}
