"""Bytes that the disk did not take: what is left of the file ends before the first gap."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from oaiofs.errors import NoSpace
from oaiofs.vfs.losses import Losses, write_all

INO = 7


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    opened = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield opened
    os.close(opened)


def size(descriptor: int) -> int:
    return os.fstat(descriptor).st_size


def test_nothing_is_cut_where_nothing_was_lost(descriptor: int) -> None:
    losses = Losses()
    losses.writing(INO, 0)
    os.pwrite(descriptor, b"whole", 0)
    losses.flushed(INO)
    assert losses.of(INO) is None
    assert not losses.settle(INO, descriptor)
    assert size(descriptor) == 5


def test_the_file_ends_before_its_first_gap(descriptor: int) -> None:
    losses = Losses()
    losses.writing(INO, 0)
    os.pwrite(descriptor, b"first", 0)
    losses.note(INO, 9, NoSpace("full"))
    losses.note(INO, 5, NoSpace("full"))
    os.pwrite(descriptor, b"late", 20)
    assert isinstance(losses.of(INO), NoSpace)
    assert losses.settle(INO, descriptor)
    assert os.pread(descriptor, 100, 0) == b"first"
    assert losses.of(INO) is None


def test_what_the_file_had_before_is_not_cut(descriptor: int) -> None:
    os.pwrite(descriptor, b"old content", 0)
    losses = Losses()
    losses.writing(INO, size(descriptor))
    losses.note(INO, 3, NoSpace("full"))
    os.pwrite(descriptor, b"late", 20)
    assert losses.settle(INO, descriptor)
    assert os.pread(descriptor, 100, 0) == b"old content"


def test_what_was_flushed_counts_as_had_before(descriptor: int) -> None:
    losses = Losses()
    losses.writing(INO, 0)
    os.pwrite(descriptor, b"flushed", 0)
    losses.flushed(INO)
    losses.writing(INO, size(descriptor))
    losses.note(INO, 2, OSError(errno.EIO, "broken"))
    assert losses.settle(INO, descriptor)
    assert os.pread(descriptor, 100, 0) == b"flushed"


def test_who_empties_the_file_begins_anew(descriptor: int) -> None:
    losses = Losses()
    losses.writing(INO, 100)
    losses.note(INO, 50, NoSpace("full"))
    losses.cut(INO, 60)
    assert losses.of(INO) is not None
    losses.cut(INO, 0)
    assert losses.of(INO) is None
    os.pwrite(descriptor, b"new", 0)
    losses.note(INO, 3, NoSpace("full"))
    os.pwrite(descriptor, b"late", 10)
    assert losses.settle(INO, descriptor)
    assert os.pread(descriptor, 100, 0) == b"new", "the length before it was emptied does not count"


def test_a_device_that_is_full_says_how_much_it_took() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    taken, error = write_all(descriptor, b"data", 0)
    os.close(descriptor)
    assert taken == 0
    assert error is not None
    assert error.errno == errno.ENOSPC
