"""What the system is asked of mounts, with the system's command in other hands."""

from __future__ import annotations

from pathlib import Path

import pytest

from oaiofs import errors, mountinfo

#: In use as often as the file beside it has lines left.
_UMOUNT = """#!/bin/sh
cd "$(dirname "$0")"
[ -s glances ] || exit 0
sed -i 1d glances
echo "target is busy" >&2
exit 32
"""


@pytest.fixture
def glances(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("umount", "fusermount3"):
        (tmp_path / name).write_text(_UMOUNT)
        (tmp_path / name).chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return tmp_path / "glances"


def test_who_only_looks_at_a_mount_does_not_keep_it(glances: Path) -> None:
    glances.write_text("df\nfile manager\n")
    mountinfo.remove(Path("/somewhere"))
    assert glances.read_text() == ""


def test_a_mount_in_use_is_not_taken_away(glances: Path) -> None:
    glances.write_text("a shell in it\n" * 1000)
    mounted = Path("/somewhere")
    with pytest.raises(errors.Busy, match=r"in use \(target is busy\): close what programs have open"):
        mountinfo.remove(mounted)
    asked = 1000 - len(glances.read_text().splitlines())
    assert asked > 1
    with pytest.raises(errors.Busy):
        mountinfo.remove(mounted, lazy=True)
    assert 1000 - len(glances.read_text().splitlines()) == asked + 1, "which no use of it can keep from going"
