"""A program that works in a mount and keeps a manifest, outside of it, of what was acknowledged.

    python -m tests.mount.witness MOUNTPOINT MANIFEST SEED

The manifest has a line before each change, with what is meant, and one after it, when the last fsync of it returned:
so whoever reads it after the mount was killed knows every byte that must be there (``Manifest.expected``), and the one
change that may or may not have happened. All changes are such that they are whole or did not happen, but for appends,
of which a part may be there.
"""

from __future__ import annotations

import errno
import json
import os
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

OBJECTS = ("one", "two", "three")
NAMES = ("a.txt", "b.txt", "c.bin", "d/e.txt", "d/f/g.txt", "h/i.txt")
_BURST = 12  # changes in one object before the next one's turn: then the first can be pushed
_MOST = 20_000  # bytes after which a file is not appended to any more
#: What a system call gives when the mount it works in is killed.
_KILLED = (errno.ENOTCONN, errno.ECONNABORTED, errno.EIO, errno.EINTR)

#: Path -> content of a file; of a sidecar the text of the value ``witness``; "" of an object's folder.
State: TypeAlias = dict[str, str]
#: What a change makes of some paths; None: nothing is there any more.
Change: TypeAlias = dict[str, "str | None"]


@dataclass
class Manifest:
    """What was acknowledged, and what was begun last."""

    path: Path

    def add(self, **line: Any) -> None:
        with open(self.path, "a") as stream:
            stream.write(json.dumps(line) + "\n")  # on no mount of ours: there when this returns

    def lines(self) -> list[dict[str, Any]]:
        """All that are whole: the witness may be writing one more."""
        text = self.path.read_text() if self.path.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def acknowledged(self) -> int:
        return sum("done" in line for line in self.lines())

    def expected(self) -> tuple[State, Change]:
        """What must be there, and the change that may have happened too, {} for none."""
        state: State = {}
        begun: Change = {}
        for line in self.lines():
            if "begin" in line:
                begun = line["begin"]
            else:
                _apply(state, line.get("found", begun))
                begun = {}
        return state, begun

    def found(self, change: Change) -> None:
        """After a kill: this is how far the change that had been begun had come."""
        self.add(found=change)


def _apply(state: State, change: Change) -> None:
    for path, content in change.items():
        if content is None:
            state.pop(path, None)
        else:
            state[path] = content


class Witness:
    """Changes things at random below *top*, each change acknowledged by the disk before it is noted as done."""

    def __init__(self, top: Path, manifest: Manifest, seed: str) -> None:
        self.top = top
        self.manifest = manifest
        self.random = random.Random(seed)
        self.state, begun = manifest.expected()
        assert not begun, "what had come of the last change was not noted"
        self.number = len(manifest.lines())

    def work(self) -> None:
        """Until the mount is killed."""
        while True:
            name = self.random.choice(OBJECTS)
            for _ in range(self.random.randint(2, _BURST)):
                self.one_change(name)

    def one_change(self, name: str) -> None:
        self.number += 1
        if name not in self.state:
            self._do({name: "", f"{name}/values.json": ""}, lambda: self._make_object(name))
            return
        path = f"{name}/{self.random.choice(NAMES)}"
        here = sorted(one for one in self.state if one.startswith(f"{name}/") and not one.endswith("values.json"))
        verb = self.random.choice(("save", "save", "append", "append", "append", "value", "rename", "folder", "delete"))
        text = f"{self.number} " + "x" * self.random.choice((1, 50, 3000)) + "\n"
        if verb == "value":
            self._do({f"{name}/values.json": text}, lambda: self._value(name, text))
        elif verb == "append" and len(self.state.get(path, "")) < _MOST:
            self._do({path: self.state.get(path, "") + text}, lambda: self._append(path, text))
        elif verb == "rename" and here:
            old = self.random.choice(here)
            if old != path:
                self._do({old: None, path: self.state[old]}, lambda: self._rename(old, path))
        elif verb == "delete" and len(here) > 3:
            self._do({here[0]: None}, lambda: self._unlink(here[0]))
        elif verb == "folder":
            self._rename_folder(name)
        else:
            self._do({path: text}, lambda: self._save(path, text))

    def _do(self, change: Change, doing: Callable[[], None]) -> None:
        self.manifest.add(begin=change)
        doing()
        self.manifest.add(done=True)
        _apply(self.state, change)

    # -- changes -----------------------------------------------------------------------------------------------

    def _make_object(self, name: str) -> None:
        (self.top / name).mkdir()
        _sync(self.top)

    def _append(self, path: str, text: str) -> None:
        self._folder_of(path)
        with open(self.top / path, "a") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())

    def _save(self, path: str, text: str) -> None:
        folder = self._folder_of(path)
        temporary = folder / f".{self.number}.swp"
        _write(temporary, text)
        temporary.rename(self.top / path)
        _sync(folder)

    def _value(self, name: str, text: str) -> None:
        sidecar = self.top / name / "values.json"
        values = {**json.loads(sidecar.read_text()), "witness": text}
        if self.number % 2:
            _write(sidecar, json.dumps(values))
        else:
            temporary = sidecar.with_name(".values.swp")
            _write(temporary, json.dumps(values))
            temporary.rename(sidecar)
            _sync(sidecar.parent)

    def _rename(self, old: str, new: str) -> None:
        folder = self._folder_of(new)
        (self.top / old).rename(self.top / new)
        _sync(folder)
        _sync((self.top / old).parent)

    def _rename_folder(self, name: str) -> None:
        old, new = self.random.sample(("d", "h", "k"), 2)
        moved = {one: text for one, text in self.state.items() if one.startswith(f"{name}/{old}/")}
        if not moved or any(one.startswith(f"{name}/{new}/") for one in self.state):
            return
        change: Change = dict.fromkeys(moved)
        change |= {f"{name}/{new}/{one.split('/', 2)[2]}": text for one, text in moved.items()}

        def rename() -> None:
            (self.top / name / old).rename(self.top / name / new)  # over an empty folder, if there is one
            _sync(self.top / name)

        if not (self.top / name / new).exists() or not any((self.top / name / new).iterdir()):
            self._do(change, rename)

    def _unlink(self, path: str) -> None:
        (self.top / path).unlink()
        _sync((self.top / path).parent)

    def _folder_of(self, path: str) -> Path:
        folder = (self.top / path).parent
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def _write(path: Path, text: str) -> None:
    with open(path, "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    try:
        Witness(Path(sys.argv[1]), Manifest(Path(sys.argv[2])), sys.argv[3]).work()
    except OSError as error:
        if error.errno not in _KILLED:
            raise
