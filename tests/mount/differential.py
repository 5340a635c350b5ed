"""Random file operations that can be done on two disks alike, to compare what comes of them."""

from __future__ import annotations

import errno
import os
import random
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

_NAMES = ("a", "b", "ä ö", "c.txt", ".dot", "d~")
_MODES = (0o400, 0o600, 0o644, 0o755)
_FLAGS = {
    "r": os.O_RDONLY,
    "r+": os.O_RDWR,
    "w": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    "a": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
    "x": os.O_RDWR | os.O_CREAT | os.O_EXCL,
    "w+": os.O_RDWR | os.O_CREAT | os.O_TRUNC,
}
_LARGEST = 20_000


class Disk:
    """A folder to operate in, with the descriptors that operations left open; *hidden* names are not listed."""

    def __init__(self, root: Path, hidden: frozenset[str] = frozenset()) -> None:
        self.root = root
        self.hidden = hidden
        self.open: list[int] = []

    def at(self, path: str) -> str:
        return os.path.join(self.root, path)

    def close(self) -> None:
        while self.open:
            os.close(self.open.pop())


Act: TypeAlias = Callable[[Disk], object]
Kind: TypeAlias = "Callable[[Chance], tuple[str, Act]]"


class Chance:
    """Draws what to do next below *root*, something that is there more often than something that is not.

    *source* may be a seeded generator, or Hypothesis' own, which finds the shortest way to a failure.
    """

    def __init__(self, source: random.Random, root: Path) -> None:
        self.source = source
        self.root = root

    def path(self) -> str:
        there = sorted(path.relative_to(self.root).as_posix() for path in self.root.rglob("*"))
        if there and self.source.random() < 0.7:
            return self.source.choice(there) + self.source.choice(("", "", "/" + self.source.choice(_NAMES)))
        return "/".join(self.source.choices(_NAMES, k=self.source.choice((1, 2))))


def plant(folder: Path, chance: random.Random) -> None:
    """Fill *folder* with files at places that operations go to."""
    for name in _NAMES[:4]:
        (folder / name).mkdir()
        for other in _NAMES[:3]:
            (folder / name / other).write_bytes(_data(chance))
        (folder / name / _NAMES[3]).mkdir()
        (folder / name / _NAMES[3] / _NAMES[0]).write_bytes(_data(chance))
    (folder / _NAMES[4]).write_bytes(_data(chance))


def operation(chance: Chance, kind: Kind | None = None) -> tuple[str, Act]:
    """The next operation's description and the operation; its result, or its errno's name, can be compared."""
    name, act = (kind or chance.source.choices(_KINDS, _WEIGHTS)[0])(chance)
    return name, _answering(act)


def _answering(act: Act) -> Act:
    def answer(disk: Disk) -> object:
        try:
            return act(disk)
        except OSError as error:
            return errno.errorcode[error.errno or 0]

    return answer


def _data(source: random.Random) -> bytes:
    size = source.choice((0, 1, 10, 4096, source.randrange(_LARGEST)))
    return (source.randbytes(16) * (size // 16 + 1))[:size]


# -- by path ---------------------------------------------------------------------------------------------------------


def _mkdir(chance: Chance) -> tuple[str, Act]:
    path = chance.path()
    return f"mkdir {path}", lambda disk: os.mkdir(disk.at(path), 0o755)


def _rmdir(chance: Chance) -> tuple[str, Act]:
    path = chance.path()
    return f"rmdir {path}", lambda disk: os.rmdir(disk.at(path))


def _unlink(chance: Chance) -> tuple[str, Act]:
    path = chance.path()
    return f"unlink {path}", lambda disk: os.unlink(disk.at(path))


def _rename(chance: Chance) -> tuple[str, Act]:
    old, new = chance.path(), chance.path()
    return f"rename {old} {new}", lambda disk: os.rename(disk.at(old), disk.at(new))


def _write(chance: Chance) -> tuple[str, Act]:
    path, data = chance.path(), _data(chance.source)
    mode = chance.source.choice(("w", "a", "x", "r+"))

    def act(disk: Disk) -> object:
        descriptor = os.open(disk.at(path), _FLAGS[mode], 0o644)
        try:
            return os.write(descriptor, data)
        finally:
            os.close(descriptor)

    return f"write {mode} {path} {len(data)}", act


def _read(chance: Chance) -> tuple[str, Act]:
    path = chance.path()

    def act(disk: Disk) -> object:
        with open(disk.at(path), "rb") as file:
            return file.read()

    return f"read {path}", act


def _truncate(chance: Chance) -> tuple[str, Act]:
    path, size = chance.path(), chance.source.randrange(_LARGEST)
    return f"truncate {path} {size}", lambda disk: os.truncate(disk.at(path), size)


def _chmod(chance: Chance) -> tuple[str, Act]:
    path, mode = chance.path(), chance.source.choice(_MODES)

    def act(disk: Disk) -> None:
        os.chmod(disk.at(path), mode | (0o700 if os.path.isdir(disk.at(path)) else 0))

    return f"chmod {path} {mode:o}", act


def _utime(chance: Chance) -> tuple[str, Act]:
    path, time = chance.path(), chance.source.randrange(10**18, 2 * 10**18)

    def act(disk: Disk) -> object:
        os.utime(disk.at(path), ns=(time, time))
        return os.stat(disk.at(path)).st_mtime_ns

    return f"utime {path}", act


def _stat(chance: Chance) -> tuple[str, Act]:
    path = chance.path()

    def act(disk: Disk) -> object:
        status = os.lstat(disk.at(path))
        return status.st_mode, 0 if stat.S_ISDIR(status.st_mode) else status.st_size

    return f"stat {path}", act


def _list(chance: Chance) -> tuple[str, Act]:
    path = chance.source.choice((".", chance.path()))
    return f"list {path}", lambda disk: sorted(set(os.listdir(disk.at(path))) - disk.hidden)


# -- by descriptor ---------------------------------------------------------------------------------------------------


def _open(chance: Chance) -> tuple[str, Act]:
    path, mode = chance.path(), chance.source.choice(tuple(_FLAGS))

    def act(disk: Disk) -> None:
        disk.open.append(os.open(disk.at(path), _FLAGS[mode], 0o640))

    return f"open {mode} {path}", act


def _on_open(name: str, chance: Chance, use: Callable[[int], object]) -> tuple[str, Act]:
    number = chance.source.randrange(1000)

    def act(disk: Disk) -> object:
        return use(disk.open[number % len(disk.open)]) if disk.open else None

    return f"{name} of open file {number}", act


def _pwrite(chance: Chance) -> tuple[str, Act]:
    data, offset = _data(chance.source), chance.source.randrange(2 * _LARGEST)
    return _on_open(f"pwrite {len(data)} at {offset}", chance, lambda descriptor: os.pwrite(descriptor, data, offset))


def _pread(chance: Chance) -> tuple[str, Act]:
    size, offset = chance.source.randrange(2 * _LARGEST), chance.source.randrange(_LARGEST)
    return _on_open("pread", chance, lambda descriptor: os.pread(descriptor, size, offset))


def _ftruncate(chance: Chance) -> tuple[str, Act]:
    size = chance.source.randrange(_LARGEST)
    return _on_open(f"ftruncate {size}", chance, lambda descriptor: os.ftruncate(descriptor, size))


def _fstat(chance: Chance) -> tuple[str, Act]:
    def look(descriptor: int) -> object:
        status = os.fstat(descriptor)
        return stat.S_ISDIR(status.st_mode) or (status.st_size, status.st_nlink)

    return _on_open("fstat", chance, look)


def _fsync(chance: Chance) -> tuple[str, Act]:
    return _on_open("fsync", chance, os.fsync)


def _close(chance: Chance) -> tuple[str, Act]:
    number = chance.source.randrange(1000)

    def act(disk: Disk) -> None:
        if disk.open:
            os.close(disk.open.pop(number % len(disk.open)))

    return f"close {number}", act


_MIX: dict[Kind, int] = {
    _mkdir: 5, _rmdir: 2, _unlink: 4, _rename: 9, _write: 9, _read: 5, _truncate: 3, _chmod: 2, _utime: 2, _stat: 3,
    _list: 3, _open: 5, _pwrite: 4, _pread: 4, _ftruncate: 2, _fstat: 3, _fsync: 1, _close: 3,
}  # fmt: skip
_KINDS, _WEIGHTS = tuple(_MIX), tuple(_MIX.values())
#: Each kind of operation by its name.
KINDS: dict[str, Kind] = {kind.__name__.strip("_"): kind for kind in _MIX}
