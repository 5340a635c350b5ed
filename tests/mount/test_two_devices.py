"""Two devices of one user: what is done on one arrives at the other and on the servers by itself, byte for byte."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.mountkit import Cloud, MountKit, needs_fuse, tree, wait_for, wait_same, when_asked

from .refusing import refused

pytestmark = needs_fuse

#: Seconds: poll interval + 2, as promised, and the quiet time before; doubled, because test machines are busy.
SOON = 2 * (0.5 + 2 + 0.3)

VALUES = """{
  "_name": "settings",
  "zebra": "Ünïcödé 日本語 🙂",
  "big": 1180591620717411303423,
  "minus": -1180591620717411303424,
  "nested": [[1, [2.0, [null, true]]], {"b": {}, "a": []}],
  "float": 0.1,
  "tiny": 1e-300,
  "whole": 3.0,
  "apple": ""
}
"""


def files(folder: Path) -> dict[str, bytes | None]:
    """What is in an object, but for its sidecar; {} while it is not there."""
    if not folder.exists():
        return {}
    return {path: data for path, data in tree(folder).items() if path != "values.json"}


def values(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "values.json").read_text())
    return found


def source_tree(folder: Path) -> Path:
    for path, data in {
        "readme.txt": b"read me\n", "src/a.py": b"print(1)\n", "src/deep/er/b.bin": bytes(range(256)) * 700,
        "Bücher/Größe.txt": "ä".encode(), "src/empty.dat": b"",
    }.items():  # fmt: skip
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def test_everything_that_is_done_arrives(d1: MountKit, d2: MountKit, cloud: Cloud, tmp_path: Path) -> None:
    source = source_tree(tmp_path / "source")
    here, there = d1.path / "project", d2.path / "project"

    def arrives(what: str) -> None:
        """The other device comes to hold what this one does, and so does the storage."""
        wait_same(lambda: files(there), files(here))
        assert (there / "values.json").read_bytes() == (here / "values.json").read_bytes(), what
        held = {path: data for path, data in files(here).items() if data is not None}
        assert cloud.version(cloud.objects()["project"]) == held, what

    (d1.path / "bystander").mkdir()
    here.mkdir()
    wait_for(there.exists)
    shutil.copytree(source, here, dirs_exist_ok=True)
    arrives("copying a folder tree in")
    assert files(there) == tree(source)

    (here / "readme.txt.tmp").write_bytes(b"saved by temporary and rename\n")
    (here / "readme.txt.tmp").rename(here / "readme.txt")
    arrives("a save by temporary and rename")

    with open(here / "src" / "deep" / "er" / "b.bin", "r+b") as file:
        file.seek(100_000)
        file.write(b"in place")
    arrives("a save in place")

    (here / "src" / "a.py").rename(here / "src" / "main.py")
    (here / "Bücher").rename(here / "books")
    arrives("renaming a file and a folder")

    (here / "src" / "empty.dat").unlink()
    shutil.rmtree(here / "books")
    arrives("deleting a file and a folder")

    here.rename(d1.path / "renamed")
    wait_for((d2.path / "renamed").exists)
    wait_same(there.exists, False)  # the kernel is told of one name after the other
    assert files(d2.path / "renamed") == files(d1.path / "renamed")
    wait_same(lambda: values(d2.path / "renamed"), {"_name": "renamed"})

    shutil.rmtree(d1.path / "renamed")
    wait_same(lambda: os.listdir(d2.path), ["bystander"])
    assert list(cloud.objects()) == ["bystander"]


def test_an_edit_in_a_folder_that_was_removed_meanwhile_is_found_by_its_name(d1: MountKit, d2: MountKit) -> None:
    """Somebody has looked for the folder while it was gone."""
    here, there = d1.path / "project", d2.path / "project"
    (here / "d").mkdir(parents=True)
    (here / "d" / "x.txt").write_bytes(b"old")
    (here / "stays.txt").write_bytes(b"stays")
    wait_same(lambda: files(there), files(here))
    with open(there / "d" / "x.txt", "r+b") as file:
        shutil.rmtree(here / "d")
        wait_for(lambda: not (there / "d").exists())
        file.write(b"edit")
    [copy] = wait_for(lambda: list((there / "d").glob("x (conflict *).txt")))
    assert copy.read_bytes() == b"edit"
    wait_same(lambda: files(here), files(there))


def shown(kit: MountKit) -> dict[str, object]:
    return {folder.name: (files(folder), values(folder)) for folder in kit.path.iterdir()}


CHANGES: dict[str, Callable[[MountKit, Path], object]] = {
    "a new file": lambda _, place: (place / "new.txt").write_text("new"),
    "a save": lambda _, place: (place / "a.txt").write_text("changed"),
    "a renamed file": lambda _, place: (place / "a.txt").rename(place / "b.txt"),
    "a deleted file": lambda _, place: (place / "a.txt").unlink(),
    "values": lambda _, place: (place / "values.json").write_text(json.dumps({"_name": place.name, "x": 1})),
    "a renamed object": lambda _, place: place.rename(place.with_name(f"{place.name} renamed")),
    "a deleted object": lambda _, place: shutil.rmtree(place),
    "a restored object": lambda kit, place: kit.oaiofs("trash", "restore", place.name).check_returncode(),
}


def test_every_change_arrives_as_soon_as_promised(d1: MountKit, d2: MountKit) -> None:
    """The fastest of three tries does: it tells the devices' slowness from a pause of the machine."""
    for number in range(3):
        for name in CHANGES:
            (d1.path / f"{name} {number}").mkdir()
            (d1.path / f"{name} {number}" / "a.txt").write_text("a")
    d1.sync()
    d2.sync()
    for number in range(3):
        shutil.rmtree(d1.path / f"a restored object {number}")
    d1.sync()
    d2.sync()
    for name, change in CHANGES.items():
        lasted = []
        for number in range(3):
            begun = time.monotonic()
            change(d1, d1.path / f"{name} {number}")
            wait_same(lambda: shown(d2), shown(d1))
            lasted.append(time.monotonic() - begun)
            if lasted[-1] <= SOON:
                break
        assert min(lasted) <= SOON, name


def test_deleting_the_last_object_is_believed_at_the_second_look(d1: MountKit, d2: MountKit) -> None:
    d2.expect("The server no longer lists 1 of 1 objects")
    (d1.path / "only one").mkdir()
    (d1.path / "only one" / "a.txt").write_text("a")
    wait_for((d2.path / "only one").exists)
    shutil.rmtree(d1.path / "only one")
    wait_same(lambda: os.listdir(d2.path), [])


@when_asked
def test_the_storage_holds_exactly_the_announced_version(d1: MountKit, cloud: Cloud) -> None:
    here = d1.path / "album"
    here.mkdir()
    (here / "a.txt").write_text("a")
    (here / "sub").mkdir()
    (here / "sub" / "b.txt").write_text("b")
    d1.sync()
    first = cloud.objects()["album"]
    (here / "a.txt").write_text("A")
    (here / "c.txt").write_text("c")
    d1.sync()
    second = cloud.objects()["album"]
    assert first.oaio_id == second.oaio_id
    assert first.stamp < second.stamp
    assert cloud.stored(second) == {
        f"{first.stamp}/a.txt": b"a", f"{first.stamp}/sub/b.txt": b"b",
        f"{second.stamp}/a.txt": b"A", f"{second.stamp}/sub/b.txt": b"b", f"{second.stamp}/c.txt": b"c",
    }  # fmt: skip


def test_values_survive_the_round_trip(d1: MountKit, d2: MountKit, cloud: Cloud) -> None:
    (d1.path / "settings").mkdir()
    (d1.path / "settings" / "values.json").write_text(VALUES, encoding="utf-8")
    sidecar = d2.path / "settings" / "values.json"
    wait_same(lambda: sidecar.exists() and json.loads(sidecar.read_text()), json.loads(VALUES))
    text = sidecar.read_text(encoding="utf-8")
    assert list(json.loads(text)) == list(json.loads(VALUES))
    assert json.loads(text, parse_float=str, parse_int=str) == json.loads(VALUES, parse_float=str, parse_int=str)
    assert list(cloud.objects()["settings"].values.items()) == list(json.loads(VALUES).items())

    sidecar.write_text(text.replace('"apple": ""', '"apple": "from d2"'), encoding="utf-8")
    wait_same(lambda: values(d1.path / "settings"), {**json.loads(VALUES), "apple": "from d2"})


def test_invalid_values_stay_on_the_device_until_they_are_corrected(d1: MountKit, d2: MountKit, cloud: Cloud) -> None:
    here, there = d1.path / "draft", d2.path / "draft"
    here.mkdir()
    (here / "a.txt").write_text("a")
    d1.sync()
    before = cloud.objects()["draft"]
    with pytest.raises(OSError, match="Invalid argument"):
        (here / "values.json").write_text('{"_name": "draft", "x": tru}')
    (here / "a.txt").write_text("a file that is saved meanwhile")
    assert d1.shown("draft")["draft"]["line"] == 1
    wait_for(there.exists)
    assert values(there) == {"_name": "draft"}
    assert cloud.objects()["draft"].values == before.values
    (here / "values.json").write_text('{"_name": "draft", "x": true}')
    wait_same(lambda: values(there), {"_name": "draft", "x": True})
    wait_same(lambda: files(there), {"a.txt": b"a file that is saved meanwhile"})
    assert "draft" not in d1.shown("draft")


def in_step(kit: MountKit, name: str, *other: MountKit) -> None:
    """The object *name* is the same on all devices, with its bytes there."""
    kit.sync()
    for device in other:
        device.sync()
        assert files(device.path / name) == files(kit.path / name)


@when_asked
def test_two_devices_change_different_values_and_files(d1: MountKit, slow: MountKit, cloud: Cloud) -> None:
    here, there = d1.path / "shared", slow.path / "shared"
    here.mkdir()
    for name in ("a.txt", "b.txt", "c.txt", "d.txt"):
        (here / name).write_text("old")
    (here / "values.json").write_text('{"_name": "shared", "one": 1, "two": {"x": 1, "y": 1}}')
    in_step(d1, "shared", slow)

    (there / "values.json").write_text('{"_name": "shared", "one": 1, "two": {"x": 1, "y": 2}, "new": "slow"}')
    (there / "b.txt").write_text("by slow")
    (there / "d.txt").unlink()
    (here / "values.json").write_text('{"_name": "shared", "one": 11, "two": {"x": 1, "y": 1}}')
    (here / "a.txt").write_text("by d1")
    (here / "c.txt").rename(here / "renamed.txt")
    in_step(d1, "shared")
    in_step(slow, "shared", d1)

    merged = {"_name": "shared", "one": 11, "two": {"x": 1, "y": 2}, "new": "slow"}
    assert files(here) == {"a.txt": b"by d1", "b.txt": b"by slow", "renamed.txt": b"old"}
    assert values(here) == values(there) == cloud.objects()["shared"].values == merged
    assert cloud.version(cloud.objects()["shared"]) == files(here)
    assert d1.status()["conflicts"] == slow.status()["conflicts"] == 0
    assert len(cloud.stamps("shared")) == 3


@when_asked
def test_two_devices_change_the_same_file(d1: MountKit, slow: MountKit, cloud: Cloud) -> None:
    here, there = d1.path / "shared", slow.path / "shared"
    here.mkdir()
    (here / "letter.txt").write_text("old")
    (here / "same.txt").write_text("old")
    in_step(d1, "shared", slow)

    for folder, text in ((there, "by slow"), (here, "by d1")):
        (folder / "letter.txt").write_text(text)
        (folder / "same.txt").write_text("both had the same idea")
    in_step(d1, "shared")
    stamp = cloud.objects()["shared"].stamp
    in_step(slow, "shared", d1)

    copy = f"letter (conflict slow {stamp}).txt"
    assert files(here) == {"letter.txt": b"by d1", copy: b"by slow", "same.txt": b"both had the same idea"}
    assert cloud.version(cloud.objects()["shared"]) == files(here)
    [conflict] = json.loads((slow.path / ".oaiofs" / "conflicts.json").read_text())["conflicts"]
    assert (conflict["object"], conflict["path"], conflict["copy"]) == ("shared", "letter.txt", copy)
    assert slow.shown("shared")["state"] == "conflict"


@when_asked
def test_two_devices_change_different_lines_of_a_text(d1: MountKit, slow: MountKit, cloud: Cloud) -> None:
    here, there = d1.path / "shared", slow.path / "shared"
    here.mkdir()
    lines = [f"line {number} of the Größe\n" for number in range(100)]
    (here / "text.md").write_text("".join(lines))
    in_step(d1, "shared", slow)
    (there / "text.md").chmod(0o600)
    before = (there / "text.md").stat()

    (there / "text.md").write_text("".join(lines[:-1]) + "by slow\n")
    (here / "text.md.new").write_text("by d1\n" + "".join(lines[1:]))
    (here / "text.md.new").rename(here / "text.md")
    with open(there / "text.md", "rb", buffering=0) as reader:
        start = reader.read(1000)
        in_step(d1, "shared")
        in_step(slow, "shared", d1)
        assert start + reader.readall() == ("".join(lines[:-1]) + "by slow\n").encode(), "who reads it goes on"

    merged = ("by d1\n" + "".join(lines[1:-1]) + "by slow\n").encode()
    assert files(here) == files(there) == cloud.version(cloud.objects()["shared"]) == {"text.md": merged}
    after = (there / "text.md").stat()
    assert (after.st_mode, after.st_size) == (before.st_mode, len(merged))
    assert after.st_ino != before.st_ino
    assert d1.status()["conflicts"] == slow.status()["conflicts"] == 0
    assert len(cloud.stamps("shared")) == 3


@when_asked
def test_two_devices_change_the_same_value(d1: MountKit, slow: MountKit, cloud: Cloud) -> None:
    here, there = d1.path / "shared", slow.path / "shared"
    here.mkdir()
    (here / "values.json").write_text('{"_name": "shared", "colour": "red", "size": 1}')
    in_step(d1, "shared", slow)
    (there / "values.json").write_text('{"_name": "shared", "colour": "green", "size": 2}')
    (here / "values.json").write_text('{"_name": "shared", "colour": "blue", "size": 1}')
    in_step(d1, "shared")
    in_step(slow, "shared", d1)
    assert values(here) == values(there) == {"_name": "shared", "colour": "blue", "size": 2}
    [conflict] = json.loads((slow.path / ".oaiofs" / "conflicts.json").read_text())["conflicts"]
    assert (conflict["path"], conflict["base"], conflict["mine"], conflict["theirs"]) == (
        ["colour"], "red", "green", "blue",
    )  # fmt: skip


@when_asked
def test_one_deletes_what_the_other_edits(d1: MountKit, slow: MountKit, cloud: Cloud) -> None:
    here, there = d1.path / "shared", slow.path / "shared"
    here.mkdir()
    for name in ("kept by slow.txt", "kept by d1.txt", "gone.txt"):
        (here / name).write_text("old")
    in_step(d1, "shared", slow)
    (there / "kept by slow.txt").write_text("edited")
    (there / "kept by d1.txt").unlink()
    (here / "kept by slow.txt").unlink()
    (here / "kept by d1.txt").write_text("edited")
    (here / "gone.txt").unlink()
    in_step(d1, "shared")
    in_step(slow, "shared", d1)
    assert files(here) == files(there) == {"kept by slow.txt": b"edited", "kept by d1.txt": b"edited"}


@when_asked
def test_two_devices_make_objects_of_one_name(d1: MountKit, slow: MountKit, cloud: Cloud) -> None:
    for kit in (slow, d1):
        (kit.path / "twin").mkdir()
        (kit.path / "twin" / "from.txt").write_text(kit.device_id)
    in_step(d1, "twin")
    slow.sync()
    d1.sync()
    for kit in (d1, slow):
        found = {path.name: (path / "from.txt").read_text() for path in kit.path.iterdir()}
        assert found == {"twin": kit.device_id, "twin ~2": {"d1": "slow", "slow": "d1"}[kit.device_id]}


def test_a_reader_never_sees_a_file_empty_or_half(d1: MountKit, d2: MountKit) -> None:
    contents = [bytes([65 + number]) * 300_000 for number in range(8)]
    here, there = d1.path / "live", d2.path / "live"
    here.mkdir()
    (here / "a.bin").write_bytes(contents[0])
    (here / "values.json").write_text('{"_name": "live", "number": 0}')
    wait_same(lambda: files(there), {"a.bin": contents[0]})
    wait_same(lambda: values(there).get("number"), 0)
    seen: set[bytes] = set()
    sidecars: list[int] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add((there / "a.bin").read_bytes())
            sidecars.append(json.loads((there / "values.json").read_text())["number"])

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number, content in enumerate(contents[1:], 1):
            if number % 2:
                (here / "a.bin").write_bytes(content)
            else:
                (here / "a.bin.new").write_bytes(content)
                (here / "a.bin.new").rename(here / "a.bin")
            (here / "values.json").write_text(json.dumps({"_name": "live", "number": number}))
            d1.sync()
            if number in (3, 5):
                wait_for(lambda: content in seen)  # noqa: B023
        wait_same(lambda: files(there), {"a.bin": contents[-1]})
        wait_same(lambda: values(there)["number"], len(contents) - 1)
    finally:
        done.set()
        reader.join()
    assert seen <= set(contents)
    assert len(seen) > 2
    assert sidecars == sorted(sidecars)
    assert d1.status()["conflicts"] == d2.status()["conflicts"] == 0


def test_what_is_open_keeps_its_bytes_when_another_device_replaces_it(d1: MountKit, d2: MountKit) -> None:
    here, there = d1.path / "open", d2.path / "open"
    here.mkdir()
    (here / "a.txt").write_text("old" * 100_000)
    wait_same(lambda: files(there), {"a.txt": b"old" * 100_000})
    with open(there / "a.txt", "rb", buffering=0) as reader:
        assert reader.read(3) == b"old"
        (here / "a.txt").write_text("new")
        wait_same(lambda: (there / "a.txt").read_bytes(), b"new")
        assert reader.read() == b"old" * 99_999


def test_a_big_file(d1: MountKit, d2: MountKit, cloud: Cloud) -> None:
    block = os.urandom(1 << 20)
    content = b"".join(bytes([number]) + block[1:] for number in range(20))
    (d1.path / "big").mkdir()
    (d1.path / "big" / "film.bin").write_bytes(content)
    d1.sync()
    there = d2.path / "big" / "film.bin"
    wait_for(there.exists)
    assert there.stat().st_size == len(content)
    with open(there, "rb") as reader:
        reader.seek(12 << 20)
        assert reader.read(1 << 20) == content[12 << 20 : 13 << 20]
    assert there.read_bytes() == content
    with open(there, "r+b") as writer:
        writer.seek(5 << 20)
        writer.write(b"changed by d2")
    changed = content[: 5 << 20] + b"changed by d2" + content[(5 << 20) + 13 :]
    wait_for(lambda: (d1.path / "big" / "film.bin").read_bytes() == changed)
    assert cloud.version(cloud.objects()["big"])["film.bin"] == changed


def test_saving_on_both_in_turns_makes_no_conflict(d1: MountKit, d2: MountKit, cloud: Cloud) -> None:
    def arrives(kit: MountKit, text: str) -> None:
        wait_same(lambda: files(kit.path / "talk"), {"log.txt": text.encode()})

    (d1.path / "talk").mkdir()
    (d1.path / "talk" / "log.txt").write_text("0\n")
    text = "0\n"
    for number in range(1, 7):
        writer, reader = (d2, d1) if number % 2 else (d1, d2)
        arrives(writer, text)
        with open(writer.path / "talk" / "log.txt", "a") as file:
            file.write(f"{number}\n")
        text += f"{number}\n"
        arrives(reader, text)
    assert len(cloud.stamps("talk")) == 7


def test_a_folder_has_the_time_at_which_something_in_it_changed_elsewhere(d1: MountKit, d2: MountKit) -> None:
    here, there = d1.path / "notes", d2.path / "notes"
    here.mkdir()
    (here / "first.txt").write_text("first")

    def makes_folder() -> None:
        (here / "new").mkdir()
        (here / "new" / "a.txt").write_text("a")

    changes: list[Callable[[], object]] = [
        makes_folder, lambda: (here / "b.txt").write_text("b"), lambda: (here / "b.txt").rename(here / "c.txt"),
        lambda: (here / "c.txt").write_text("changed"), lambda: (here / "c.txt").unlink(),
    ]  # fmt: skip
    for change in changes:
        d1.sync()
        d2.sync()
        before = there.stat().st_mtime_ns
        change()
        d1.sync()
        d2.sync()
        assert there.stat().st_mtime_ns > before
        assert sorted(os.listdir(there)) == sorted(os.listdir(here))


def test_mv_of_a_file_that_is_not_here_makes_it_the_values(d1: MountKit, d2: MountKit) -> None:
    (d1.path / "notes").mkdir()
    (d1.path / "notes" / "new.json").write_text('{"_name": "notes", "n": 1}')
    d1.sync()
    d2.sync()
    new, sidecar = d2.path / "notes" / "new.json", d2.path / "notes" / "values.json"
    refused(errno.EXDEV, lambda: new.rename(sidecar))
    # Where its two steps are more than 2 s apart, the sidecar is back in between, and mv is told so; then it is here.
    wait_for(lambda: subprocess.run(["mv", new, sidecar], check=False).returncode == 0)
    assert (values(d2.path / "notes"), new.exists()) == ({"_name": "notes", "n": 1}, False)
    d2.sync()
    d1.sync()
    assert values(d1.path / "notes") == {"_name": "notes", "n": 1}
