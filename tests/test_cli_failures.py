"""What the command line says when something fails, also in the background."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from oaiofs import errors
from oaiofs.cli import failures
from oaiofs.cli.logs import keep_traceback
from tests.clikit import home, refused

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["home"]

pytestmark = pytest.mark.usefixtures("home")


def test_errors_in_a_nurserys_wrapping_are_the_errors_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    wrapped = ExceptionGroup("outer", [ExceptionGroup("inner", [errors.Unreachable("No network.")])])
    assert failures.explain(wrapped, 0) == 5
    assert failures.explain(KeyboardInterrupt(), 0) == 130
    assert failures.explain(PermissionError(13, "Permission denied", "/x/y"), 0) == 1
    captured = capsys.readouterr()
    assert captured.err == "oaiofs: No network.\noaiofs: Interrupted.\noaiofs: /x/y: Permission denied.\n"


def test_a_bug_is_one_line_and_its_traceback_is_in_a_private_file(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = home / "state" / "oaiofs" / "bugs.log"
    with pytest.raises(ZeroDivisionError) as caught:
        _ = 1 / 0
    assert failures.explain(caught.value, 0) == 1
    quiet = capsys.readouterr().err
    assert quiet == f"oaiofs: This is a bug in oaiofs (ZeroDivisionError); {place} has the details.\n"
    assert failures.explain(caught.value, 1) == 1
    assert "Traceback" in capsys.readouterr().err
    assert "test_cli_failures.py" in place.read_text()
    assert stat.S_IMODE(place.stat().st_mode) == 0o600


def test_a_log_is_not_written_through_a_symlink(home: Path) -> None:
    (home / "target").write_text("")
    (home / "log").symlink_to(home / "target")
    with pytest.raises(OSError, match="symbolic link"):
        keep_traceback(home / "log", ValueError("x"))


_BACKGROUND = """
import os, signal, sys, logging, threading
from pathlib import Path
from oaiofs import errors
from oaiofs.cli import background, failures

def work(ready):
    logging.getLogger("oaiofs").info("at work")
    {body}

try:
    background.run(work, Path("the.log").resolve(), 0)
except BaseException as error:
    sys.exit(failures.explain(error, 0))
print("ready")
"""


def in_background(body: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _BACKGROUND.format(body=body)], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_background_mount_is_reported_when_it_is_ready_and_goes_on(home: Path) -> None:
    os.mkfifo(home / "told")
    os.mkfifo(home / "end")
    # What it tells after it was ready proves that it still runs when its command is over.
    body = (
        f"ready(); open({str(home / 'told')!r}, 'w').write('%s %s %s' % (os.getcwd(), os.getsid(0) == os.getpid(), "
        f"[os.readlink('/proc/self/fd/%d' % n) for n in range(3)])); open({str(home / 'end')!r}).read()"
    )
    done = in_background(body)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ready\n", "")
    assert (home / "told").read_text() == "/ True ['/dev/null', '/dev/null', '/dev/null']"
    (home / "end").write_text("")
    assert "at work" in (home / "the.log").read_text()
    assert stat.S_IMODE((home / "the.log").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("body", "exit_code", "words"),
    [
        ("raise errors.Unreachable('No network.')", 5, "No network."),
        ("raise ExceptionGroup('x', [errors.Busy('In use.')])", 1, "In use."),
        ("raise KeyError('detail')", 1, "bug in oaiofs (KeyError)"),
        ("os._exit(9)", 1, "exit code 9"),
        ("os.kill(os.getpid(), signal.SIGKILL)", 1, "signal 9"),
    ],
)
def test_what_ends_a_background_mount_too_early_is_told(home: Path, body: str, exit_code: int, words: str) -> None:
    done = in_background(body)
    refused(done, exit_code, words)
    assert (home / "the.log").exists()
