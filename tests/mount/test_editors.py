"""What real editors do to save a file, each in its own way, and what must come of it in every way the same.

One new version with exactly the attached files, mode and mtime as the editor left them, nothing stray here or on the
storage, and another device that reads all the while sees the old text or the new one, never an empty or a half one.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import json
import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.mountkit import Account, Cloud, MountKit, mounting, needs_fuse, wait_for, wait_same
from tests.serverkit import ServerKit

from .refusing import refused
from .terminal import Terminal

pytestmark = needs_fuse

_POLL = 0.3

# -- editors ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Saved:
    """How one save ended for the one at the keyboard."""

    failed: bool
    shown: str


#: Replaces a word by another in a file and saves it. The folder is the user's home.
Save = Callable[[Path, str, str, Path], Saved]


@dataclass(frozen=True)
class Editor:
    """A way to save: it *tells* errors, *restores* the old file after one, leaves a *backup* beside the file."""

    name: str
    program: str
    save: Save
    tells: bool = True
    restores: bool = False
    backup: bool = False


def _run(command: list[str], home: Path, text: str | None = None) -> Saved:
    environ = {**os.environ, "HOME": str(home), "TMPDIR": str(home), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, cwd=home, env=environ, input=text, capture_output=True, text=True, timeout=30)
    return Saved(done.returncode != 0, done.stdout + done.stderr)


def _vim(settings: str) -> Save:
    def save(file: Path, old: str, new: str, home: Path) -> Saved:
        # Backups are off below the system's temporary folder; here vim is to work as it does in a home folder.
        (home / "vimrc").write_text(f"source $VIMRUNTIME/defaults.vim\nset backupskip=\n{settings}\n")
        with Terminal(["vim", "-u", "vimrc", str(file)], cwd=home, env={"HOME": str(home)}) as screen:
            screen.wait_for(file.name)
            screen.type(f":%s/{old}/{new}/\r:w\r")
            shown = screen.wait_for(r"written|E\d+: [^\r\n]+")
            screen.type(":q!\r")
            assert screen.ended() == 0
        return Saved("written" not in shown, shown)

    return save


def _nano(file: Path, old: str, new: str, home: Path) -> Saved:
    with Terminal(["nano", "--ignorercfiles", str(file)], cwd=home, env={"HOME": str(home)}) as screen:
        screen.wait_for(r"\^X")
        screen.type("\x1br")
        screen.wait_for(r"Search \(to replace\)")
        screen.type(f"{old}\r")
        screen.wait_for("Replace with")
        screen.type(f"{new}\r")
        screen.wait_for(r"this instance\?")  # the rest of it may be on the screen already
        screen.type("a")
        screen.wait_for("Replaced 1 occurrence")
        screen.type("\x0f")
        screen.wait_for("File Name to Write")
        screen.type("\r")
        shown = screen.wait_for("Wrote|Error writing[^\r\n]*")
        screen.type("\x18")
        if "Error" in shown:
            screen.wait_for("Save modified buffer")
            screen.type("n")
        assert screen.ended() == 0
    return Saved("Error" in shown, shown)


#: Emacs makes no backups below the system's temporary folder unless it is told to; the rest are its defaults.
_INIT = "(setq backup-enable-predicate (lambda (name) t) make-backup-files t create-lockfiles t auto-save-default t)"


def _emacs(file: Path, old: str, new: str, home: Path) -> Saved:
    command = ["emacs", "-nw", "-Q", "--eval", _INIT, str(file)]
    # TMPDIR: it compiles in the background, and where it ends first leaves what it was compiling in there.
    with Terminal(command, cwd=home, env={"HOME": str(home), "TMPDIR": str(home)}) as screen:
        screen.wait_for(old)
        screen.type(f"\x1b<\x1b%{old}\r{new}\r")
        screen.wait_for("Query replacing")
        screen.type("!")
        screen.wait_for("Replaced 1")
        screen.type("\x18\x13")
        shown = screen.wait_for("Wrote|Invalid argument|rror")
        screen.type("\x18\x03")
        if "Wrote" not in shown:
            screen.wait_for("Save file")
            screen.type("n")
            screen.wait_for("exit anyway")
            screen.type("yes\r")
        assert screen.ended() == 0
    return Saved("Wrote" not in shown, shown)


def _emacs_batch(file: Path, old: str, new: str, home: Path) -> Saved:
    change = f'(find-file "{file}") (search-forward "{old}") (replace-match "{new}" t t) (save-buffer)'
    program = f'(condition-case failure (progn {_INIT} {change}) (error (message "%s" failure) (kill-emacs 1)))'
    return _run(["emacs", "-Q", "--batch", "--eval", program], home)


def _sed(file: Path, old: str, new: str, home: Path) -> Saved:
    return _run(["sed", "-i", f"s/{old}/{new}/", str(file)], home)


def _perl(file: Path, old: str, new: str, home: Path) -> Saved:
    return _run(["perl", "-i", "-pe", f"s/{old}/{new}/", str(file)], home)


def _gio(file: Path, old: str, new: str, home: Path) -> Saved:
    return _run(["gio", "save", str(file)], home, file.read_text().replace(old, new))


def _shell(file: Path, old: str, new: str, home: Path) -> Saved:
    text = file.read_text().replace(old, new).removesuffix("\n")
    return _run(["bash", "-c", 'printf "%s\\n" "$1" > "$0"', str(file), text], home)


def _python(file: Path, old: str, new: str, home: Path) -> Saved:
    program = """if True:
        import sys
        name, old, new = sys.argv[1:]
        with open(name) as file: text = file.read()
        with open(name, "w") as file: file.write(text.replace(old, new))"""
    return _run([sys.executable, "-c", program, str(file), old, new], home)


EDITORS = (
    Editor("vim", "vim", _vim(""), restores=True),
    Editor("vim-backupcopy", "vim", _vim("set backupcopy=yes"), restores=True),
    Editor("nano", "nano", _nano),
    Editor("emacs", "emacs", _emacs, restores=True, backup=True),
    Editor("emacs-batch", "emacs", _emacs_batch, restores=True, backup=True),
    Editor("sed", "sed", _sed),
    Editor("perl", "perl", _perl),
    Editor("gio", "gio", _gio),
    Editor("shell", "bash", _shell, tells=False),
    Editor("python", sys.executable, _python),
)
every_editor = pytest.mark.parametrize(
    "editor",
    [
        pytest.param(
            one, id=one.name, marks=pytest.mark.skipif(not shutil.which(one.program), reason=f"needs {one.program}")
        )
        for one in EDITORS
    ],
)

# -- two devices -----------------------------------------------------------------------------------------------------


@dataclass
class Pair:
    """Two devices of one account with an object for each editor, and what the servers hold of it."""

    d1: MountKit
    d2: MountKit
    cloud: Cloud

    def fill(self) -> None:
        """One object for each editor, with a text and some values, known to both devices."""
        for name in (one.name for one in EDITORS):
            folder = self.d1.path / name
            folder.mkdir()
            (folder / "note.txt").write_text("Grüße\nof colour red\n" + "and more\n" * 3000)
            values = {"_name": name, "ready": True, "größe": 1.0}
            (folder / "values.json").write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n")
            for file in folder.iterdir():
                file.chmod(0o640)
        self.d1.sync()
        self.d2.sync()

    def versions(self, name: str) -> set[str]:
        """Stamps of all versions that the storage's disk has of an object, complete or not."""
        oaio_id = os.getxattr(self.d1.path / name, "user.oaio.id").decode()
        return {folder.name for folder in self.d1.server.data.glob(f"storage/*/oaio/{glob.escape(oaio_id)}/*")}

    def sync(self) -> None:
        """Send what was saved, which the first device does not do by itself: a pause within a save is no end of it."""
        self.d1.sync()
        self.d2.sync()


@pytest.fixture(scope="class")
def pair(oaio_server: ServerKit) -> Iterator[Pair]:
    account = Account(*oaio_server.fresh_user("editor"))
    with mounting(oaio_server, account) as make:
        d1, d2 = (make(device, poll=_POLL, quiet=60.0, lifetime=900) for device in ("d1", "d2"))
        both = Pair(d1, d2, Cloud(oaio_server, account))
        both.fill()
        yield both


@contextlib.contextmanager
def watching(file: Path) -> Iterator[list[str]]:
    """Read *file* again and again, as a program on another device may; each text seen that is not the one before."""
    seen: list[str] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.001):
            try:
                text = file.read_text()
            except OSError as error:
                text = repr(error)
            if seen[-1:] != [text]:
                seen.append(text)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        wait_for(lambda: seen, what="the first look")
        yield seen
    finally:
        over.set()
        thread.join()


def _save_and_check(pair: Pair, editor: Editor, file: Path, old: str, new: str, home: Path) -> None:
    """Save a change of *file* with *editor*; all that is promised of one save holds."""
    name = file.parent.name
    there = pair.d2.path / name / file.name
    before, versions, first = file.stat(), pair.versions(name), file.read_text()
    listed = set(os.listdir(file.parent))
    with watching(there) as seen:
        begun = time.time()
        saved = editor.save(file, old, new, home)
        assert not saved.failed, saved.shown
        text, right_after = file.read_text(), file.stat()
        assert text == first.replace(old, new)
        pair.sync()
        wait_same(lambda: seen[-1], text)
    assert seen == [first, text]

    after = file.stat()
    assert stat.S_IMODE(after.st_mode) == stat.S_IMODE(before.st_mode) == 0o640
    assert after.st_mtime_ns == right_after.st_mtime_ns
    assert begun - 1 <= after.st_mtime <= time.time()
    assert after.st_ino == right_after.st_ino

    stray = set(os.listdir(file.parent)) - listed
    assert stray == ({f"{file.name}~"} if editor.backup else set())
    assert set(os.listdir(there.parent)) == listed == {"note.txt", "values.json"}
    assert len(pair.versions(name) - versions) == 1
    announced = pair.cloud.objects()[name]
    assert pair.cloud.version(announced) == {"note.txt": (file.parent / "note.txt").read_bytes()}
    assert announced.values == json.loads((file.parent / "values.json").read_text())


class TestText:
    @every_editor
    def test_a_save_is_one_version(self, pair: Pair, editor: Editor, tmp_path: Path) -> None:
        file = pair.d1.path / editor.name / "note.txt"
        _save_and_check(pair, editor, file, "red", "blue", tmp_path)

        there = (pair.d2.path / editor.name / "note.txt").stat()
        assert there.st_mtime_ns // 10**6 == file.stat().st_mtime_ns // 10**6  # storage hosts keep milliseconds


def test_a_save_goes_out_by_itself(d1: MountKit, d2: MountKit, tmp_path: Path) -> None:
    file = d1.path / "notes" / "note.txt"
    file.parent.mkdir()
    file.write_text("of colour red\n")
    d1.sync()
    d2.sync()
    saved = _sed(file, "red", "blue", tmp_path)
    assert not saved.failed, saved.shown
    wait_same((d2.path / "notes" / "note.txt").read_text, "of colour blue\n")
    wait_same(lambda: (d1.shown("notes")["state"], d1.status()["pending"]), ("synced", 0))


class TestValues:
    @every_editor
    def test_a_save_is_one_version(self, pair: Pair, editor: Editor, tmp_path: Path) -> None:
        file = pair.d1.path / editor.name / "values.json"
        _save_and_check(pair, editor, file, "true", "false", tmp_path)


class TestInvalidValues:
    @every_editor
    def test_the_editor_shows_the_error_and_the_draft_is_kept(self, pair: Pair, editor: Editor, tmp_path: Path) -> None:
        name = editor.name
        folder = pair.d1.path / name
        file, there = folder / "values.json", pair.d2.path / name / "values.json"
        first, versions = file.read_text(), pair.versions(name)
        with watching(there) as seen:
            saved = editor.save(file, "true", "truth", tmp_path)
            assert saved.failed is editor.tells, saved.shown
            if not editor.restores:
                self._check_draft(pair, file, first.replace("true", "truth"))
            pair.d1.sync()
            assert pair.versions(name) == versions

            corrected = editor.save(file, "true" if editor.restores else "truth", "false", tmp_path)
            assert not corrected.failed, corrected.shown
            pair.sync()
            wait_same(lambda: seen[-1], first.replace("true", "false"))
        assert seen == [first, first.replace("true", "false")]
        assert len(pair.versions(name) - versions) == 1
        refused(errno.ENODATA, lambda: os.getxattr(folder, "user.oaio.error"))
        assert not pair.d1.shown(name)["error"]

    @staticmethod
    def _check_draft(pair: Pair, file: Path, text: str) -> None:
        assert file.read_text() == text
        error = os.getxattr(file.parent, "user.oaio.error").decode()
        assert "Line 3, column" in error
        shown = pair.d1.shown(file.parent.name)
        assert (shown["state"], shown["error"]) == ("draft", error)
