"""`oaiofs ls`, `get`, `set`, `rm`, `add` and the sharing commands: their words, and a client root without a mount."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from oaiofs import errors
from oaiofs.cache import objects, tree
from oaiofs.cache.store import Store
from oaiofs.cli import adding, sharing, values
from oaiofs.cli import objects as listing
from oaiofs.core.model import Right
from tests.clikit import command, home, oaiofs, refused
from tests.mountkit import wait_for

__all__ = ["home"]

pytestmark = pytest.mark.usefixtures("home")

EVIL = "\x1b[2J\x9b\u202e\ud800"
ONE: dict[str, Any] = {
    "id": "x", "name": "notes", "right": "C", "state": "online-only", "stamp": "20260301120000000001", "size": 2048,
    "local": 0, "files": 1,
}  # fmt: skip


def test_a_list_is_columns() -> None:
    other = {**ONE, "name": "new", "right": "r", "state": "dirty", "stamp": "", "size": 0}
    assert list(listing.lines({"objects": [other, ONE]})) == [
        "r  dirty        -                         0 B  new",
        "C  online-only  20260301120000000001  2.0 KiB  notes",
    ]
    assert list(listing.lines({"objects": []})) == ["No objects."]


def test_users_are_told_with_what_they_may() -> None:
    found = [{"user": "alice", "right": "C", "me": True}, {"user": "bo", "right": "r", "me": False}]
    assert list(sharing.lines({"object": "notes", "users": found})) == [
        "C  alice  may change, delete and share, you",
        "r  bo     may read",
    ]
    assert list(sharing.lines({"users": [{"user": "alice"}, {"user": "bo"}]})) == ["alice", "bo"]


def test_what_others_named_can_not_move_the_terminal() -> None:
    told = [
        *listing.lines({"objects": [{**ONE, "name": EVIL, "stamp": EVIL}]}),
        *sharing.lines({"object": EVIL, "users": [{"user": EVIL, "right": "r", "me": False}]}),
        *adding.lines(
            {"object": EVIL, "files": 1, "mounted": True, "left_out": [{"path": EVIL, "why": EVIL}] * 12}
        ),
        values.as_text({"value": {EVIL: EVIL + "\n"}}, for_terminal=True),
        values.as_text({"value": EVIL}, for_terminal=True),
    ]
    assert not (set(EVIL) - set("[2J")) & set("".join(told))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5), ("-1.50", -1.5), ("true", True), ("null", None), ('"5"', "5"), ("[1]", [1]), ('{"x": 1}', {"x": 1}),
        ("five", "five"), ("", ""), ("NaN", "NaN"), ("True", "True"), ("05", "05"), ("1, 2", "1, 2"),
        ('1, "x": 2', '1, "x": 2'),
    ],
)  # fmt: skip
def test_a_word_is_json_or_text(text: str, value: object) -> None:
    read = values.read_value(text)
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize("text", ["{", "[1,", '"x', " {x: 1}"])
def test_a_slip_in_json_is_no_text(text: str) -> None:
    with pytest.raises(errors.UsageError, match="begins like JSON"):
        values.read_value(text)


def test_json_that_no_value_can_be_is_refused() -> None:
    for text in ('{"a": 1, "a": 2}', "1e999", '"\\ud800"', "1" * 5000):
        with pytest.raises(errors.InvalidSidecar):
            values.read_value(text)


# --------------------------------------------------------------------------------------------------- the commands


@pytest.fixture
def root(home: Path) -> Path:
    """A client root with an object of one's own, and one that may only be read."""
    path = home / "root"
    store = Store(path)
    store.state.set_meta("device_id", "laptop")
    store.state.set_meta("account", "alice https://oaio.example.org")
    for name in ("mine", "theirs"):
        head = objects.create(store, name, csh_id="Digi", username="alice", device_id="laptop", app_id="oaiofs")
        os.close(tree.create_file(store, head.ino, "a.txt", 0o644)[1])
    store.update_object(head.key, right=Right.READ)
    store.close(clean=True)
    return path


def run(root: Path, *words: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = oaiofs(words[0], "--client-root", root, *words[1:])
    assert done.returncode == code, done.stderr
    return done


def told(root: Path) -> dict[str, tuple[str, str]]:
    found = json.loads(run(root, "ls", "--json").stdout)["objects"]
    return {one["name"]: (one["right"], one["state"]) for one in found}


def test_an_add_that_is_killed_leaves_nothing(root: Path, tmp_path: Path) -> None:
    """It is killed while it waits for the second file, which somebody has a lease on."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.txt").write_text("copied")
    (source / "b.txt").write_text("never copied")
    told_so = signal.signal(signal.SIGIO, signal.SIG_IGN)  # how the system asks for the lease back
    descriptor = os.open(source / "b.txt", os.O_RDWR)
    try:
        try:
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError as error:
            pytest.skip(f"this file system grants no lease: {error.strerror}")
        with subprocess.Popen(command("add", "--client-root", root, source, "--name", "trip")) as adding:
            wait_for(lambda: list((root / "staging").glob("*/a.txt")), 60)
            adding.kill()
    finally:
        os.close(descriptor)
        signal.signal(signal.SIGIO, told_so)
    assert list((root / "staging").glob("*/a.txt"))
    assert told(root) == {"mine": ("C", "dirty"), "theirs": ("r", "dirty")}
    assert os.listdir(root / "staging") == []
    assert oaiofs("check", "--client-root", root).returncode == 0


def test_without_a_mount_what_needs_no_server_is_done(root: Path, tmp_path: Path) -> None:
    assert told(root) == {"mine": ("C", "dirty"), "theirs": ("r", "dirty")}
    run(root, "set", "mine", "two.x", "5")
    assert run(root, "get", "mine", "two.x").stdout == "5\n"
    assert json.loads(run(root, "get", "mine", "two.x", "--json").stdout)["value"] == 5
    assert json.loads(run(root, "get", "mine").stdout) == {"_name": "mine", "two": {"x": 5}}
    (tmp_path / "letter.txt").write_text("dear")
    assert "; the servers get it with the next mount." in run(root, "add", "letter.txt", "--name", "last").stdout
    done = subprocess.run(
        command("add", "--client-root", root, "--values", "-", "--name", "settings"), input='{"x": [1]}',
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "settings is a new object; the servers get it with the next mount.\n", done.stderr
    assert json.loads(run(root, "get", "settings").stdout) == {"_name": "settings", "x": [1]}
    assert "deleted for all its users with the next mount" in run(root, "rm", "last").stdout
    assert "your subscription ends" in run(root, "rm", "theirs").stdout
    assert sorted(told(root)) == ["mine", "settings"]
    assert oaiofs("check", "--client-root", root).returncode == 0


REFUSED: list[tuple[list[str], int, str]] = [
    (["users"], 4, "No password is known for alice at"),
    (["users", "mine"], 4, "No password is known for alice at"),
    (["share", "mine", "bob", "U"], 4, "No password is known for alice at"),
    (["unshare", "mine", "bob"], 4, "No password is known for alice at"),
    (["set", "theirs", "x", "1"], 1, "you may only read theirs"),
    (["rm", "theirs", "--wipe-files", "--yes"], 1, "needs right D or C"),
    (["rm", "mine", "--wipe-files"], 7, "confirm with"),
    (["get", "nothing"], 1, "there is no object nothing"),
    (["get", "mine/a.txt"], 2, "name the object itself"),
    (["set", "mine", "x"], 2, "either a VALUE or --remove"),
    (["set", "mine", "x", "1", "--remove"], 2, "either a VALUE or --remove"),
    (["add"], 2, "Say what is to be added"),
    (["add", "one", "two", "--name", "x"], 2, "are for one object"),
    (["add", "one", "--name", ".x"], 1, "can't be an object's name"),
    (["add", "one", "--name", "mine"], 1, "exists already"),
    (["add", "one"], 1, "does not exist"),
    (["add", "--values", "nothing.json"], 1, "nothing.json"),
]


def test_what_is_refused_without_a_mount(root: Path) -> None:
    before = told(root)
    for words, code, part in REFUSED:
        refused(oaiofs(words[0], "--client-root", root, *words[1:]), code, part)
    assert told(root) == before
    assert oaiofs("check", "--client-root", root).returncode == 0


def test_values_without_a_name_need_one(root: Path) -> None:
    Path("v.json").write_text('{"x": 1}')
    refused(oaiofs("add", "--client-root", root, "--values", "v.json"), 2, "--name")
    Path("v.json").write_text('{"x": 1, "x": 2}')
    refused(oaiofs("add", "--client-root", root, "--values", "v.json", "--name", "v"), 1)
    assert sorted(told(root)) == ["mine", "theirs"]
