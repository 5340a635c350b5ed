"""Listings in a real mount while names change: what the kernel is told in one it takes up, and believes for long."""

from __future__ import annotations

import os

from tests.mountkit import MountKit, needs_fuse

pytestmark = needs_fuse

#: More than one answer of the kernel's buffer holds. Their names stay on this machine, so none has to be sent.
MANY = 1500


def test_a_name_that_goes_while_it_is_listed_does_not_come_back(d1: MountKit) -> None:
    place = d1.path / "many"
    place.mkdir()
    for number in range(MANY):
        (place / f"f{number:04}~").write_bytes(b"%d" % number)
    last, elsewhere = place / f"f{MANY - 1:04}~", place / "g~"
    with os.scandir(place) as entries:
        next(entries)
        last.rename(elsewhere)
        for _ in entries:
            pass
    assert not last.exists()
    last.write_bytes(b"a new file")
    assert (elsewhere.read_bytes(), last.read_bytes()) == (b"%d" % (MANY - 1), b"a new file")
    assert last.stat().st_ino != elsewhere.stat().st_ino
