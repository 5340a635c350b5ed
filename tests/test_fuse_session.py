"""What of pyfuse3's log lines reaches the user, and what the kernel is told of its own requests."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from oaiofs.fuse import session

#: As pyfuse3 3.5 has it, in the text and its argument.
REPLY = "%s(): fuse_reply_* failed with %s"


@pytest.mark.parametrize(
    ("text", "arguments", "told"),
    [
        (REPLY, ("fuse_releasedir", "No such file or directory"), False),
        (REPLY, ("fuse_read", "No such file or directory"), False),
        (REPLY, ("fuse_read", "Invalid argument"), True),
        ("%s(): something else failed with %s", ("fuse_read", "No such file or directory"), True),
        ("the handler raised", (), True),
    ],
)
def test_an_answer_that_nobody_waits_for_is_no_error(text: str, arguments: tuple[str, ...], told: bool) -> None:
    record = logging.LogRecord("pyfuse3", logging.ERROR, "", 0, text, arguments, None)
    assert session._is_worth_a_line(record) is told


def test_a_system_that_shows_no_settings_of_mounts_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_CONNECTIONS", tmp_path / "connections")
    for device in ("0:42", ""):
        session.widen(device)
    assert list(tmp_path.iterdir()) == []
