"""Running the command line as users do: real processes in a home of their own.

Import the fixture where it is needed, and mark it used: ``pytestmark = pytest.mark.usefixtures("home")``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from tests import prefork

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of its own for every process of a test, and nothing of the developer's environment."""
    for name in [name for name in os.environ if name.startswith("OAIOFS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("CONFIG", "DATA", "STATE", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.chdir(tmp_path)
    with tempfile.TemporaryDirectory() as runtime:  # pytest's own folders may be too long for a socket's name
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        yield tmp_path


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "oaiofs", *map(str, words)]


def oaiofs(*words: object, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command line to its end; at once, see ``prefork``, where a test does not ask for more by ``command``."""
    return prefork.run([*map(str, words)], {**os.environ, **environ}, Path.cwd(), 60)


async def oaiofs_async(*words: object) -> subprocess.CompletedProcess[str]:
    return await trio.to_thread.run_sync(lambda: oaiofs(*words))


def refused(done: subprocess.CompletedProcess[str], exit_code: int, *parts: str) -> None:
    """*done* ended as it should where oaiofs refuses: with its exit code and one sentence, and nothing else."""
    assert done.returncode == exit_code, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("oaiofs: ")
    assert done.stderr.count("\n") == 1, done.stderr
    for part in parts:
        assert part in done.stderr


def private(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path
