"""The same random operations on a mount and on a plain disk: results, errnos, open files, and the tree in the end."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.mountkit import MountKit, needs_fuse

from .differential import Chance, Disk, operation, plant
from .trees import SIDECAR, arrived, files, remount, without_times

pytestmark = needs_fuse


@pytest.fixture
def place(d1: MountKit) -> Path:
    """A new object on the first device."""
    folder = d1.path / "place"
    folder.mkdir()
    return folder


def compare(mounted: Disk, plain: Disk, seed: int, operations: int) -> None:
    """Do the same on both; results, errnos and the whole tree must be the same."""
    chance, done = Chance(random.Random(seed), plain.root), []
    try:
        for _ in range(operations):
            name, act = operation(chance)
            done.append(name)
            assert act(mounted) == act(plain), f"seed {seed}, operation {len(done)}; the last ones: {done[-5:]}"
        assert without_times(mounted.root) == without_times(plain.root), f"seed {seed}"
    finally:
        mounted.close()
        plain.close()


def travelling(folder: Path) -> dict[str, bytes]:
    """Files of a plain folder that the other device is to have: editors' backups stay where they are."""
    return {path: data for path, data in files(folder).items() if not path.endswith("~")}


@pytest.mark.parametrize("seed", [11, 22, 33])
def test_a_random_sequence_does_what_a_plain_disk_does(
    d1: MountKit, d2: MountKit, place: Path, tmp_path: Path, seed: int
) -> None:
    compare(Disk(place, frozenset({SIDECAR})), Disk(tmp_path), seed, 400)
    assert files(arrived(d1, d2, place.name)) == travelling(tmp_path)
    remount(d1)
    assert without_times(place) == without_times(tmp_path)


@pytest.mark.parametrize("seed", [44, 55, 66])
def test_a_random_sequence_on_files_not_downloaded_yet(
    d1: MountKit, d2: MountKit, place: Path, tmp_path: Path, seed: int
) -> None:
    for folder in (place, tmp_path):
        plant(folder, random.Random(seed))
    there = arrived(d1, d2, place.name)
    compare(Disk(there, frozenset({SIDECAR})), Disk(tmp_path), seed, 250)
    d2.sync()
    d1.sync()
    assert files(place) == travelling(tmp_path)
    remount(d2)
    assert without_times(there) == without_times(tmp_path)
