"""``oaiofs check`` on real mounts and without them, and a real mount after its state file was damaged."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.mountkit import Account, Cloud, MountKit, MountMaker, needs_fuse, wait_same
from tests.serverkit import ServerKit

from .test_lifecycle import once

pytestmark = needs_fuse

DAMAGED = "The state file .* was damaged"
MADE_AGAIN = "objects were made again"


def checked(kit: MountKit, *words: object) -> tuple[int, dict[str, Any]]:
    """Exit code and answer of ``oaiofs check --json``."""
    done = kit.oaiofs("check", "--json", *words)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def working_copy(kit: MountKit, name: str) -> Path:
    [found] = (path for path in (kit.client_root / "objects").iterdir() if path.is_dir() and path.name.startswith(name))
    return found


def spoil(kit: MountKit) -> None:
    path = kit.client_root / "state.db"
    with open(path, "r+b") as stream:
        stream.seek(4096)
        stream.write(os.urandom(path.stat().st_size - 4096))


def test_a_mount_in_good_order(d1: MountKit) -> None:
    (d1.path / "notes").mkdir()
    (d1.path / "notes" / "a.txt").write_bytes(b"a")
    d1.sync()
    done = d1.oaiofs("check", d1.path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "Objects looked at: 1. All is well.\n", "")
    assert checked(d1, "--deep", "--mountpoint", d1.path)[0] == 0


def test_what_is_put_into_a_working_copy_is_found_and_taken_in(d1: MountKit, cloud: Cloud) -> None:
    (d1.path / "notes").mkdir()
    d1.sync()
    assert not (d1.path / "notes" / "found.txt").exists()
    (working_copy(d1, "notes") / "found.txt").write_bytes(b"found")
    done = d1.oaiofs("check", d1.path)
    assert done.returncode == 1
    assert "notes/found.txt: is in the working copy, but not in the state file. --repair would " in done.stdout
    done = d1.oaiofs("check", "--repair", d1.path)
    assert done.returncode == 0
    assert "notes/found.txt: is in the working copy, but not in the state file. Repaired." in done.stdout
    assert (d1.path / "notes" / "found.txt").read_bytes() == b"found", "the kernel no longer believes it is missing"
    d1.sync()
    assert cloud.version(cloud.objects()["notes"]) == {"found.txt": b"found"}
    d1.expect("was found in the working copy")


def test_without_a_mount(d1: MountKit, cloud: Cloud) -> None:
    (d1.path / "notes").mkdir()
    (d1.path / "notes" / "a.txt").write_bytes(b"a")
    d1.sync()
    d1.stop()
    assert checked(d1, "--client-root", d1.client_root)[0] == 0
    (working_copy(d1, "notes") / "a.txt").write_bytes(b"edited")
    code, answer = checked(d1, "--client-root", d1.client_root)
    assert (code, [one["where"] for one in answer["problems"]]) == (1, ["notes/a.txt"])
    code, answer = checked(d1, "--client-root", d1.client_root, "--repair")
    assert (code, answer["problems"], [one["where"] for one in answer["repaired"]]) == (0, [], ["notes/a.txt"])
    d1.start()
    d1.sync()
    assert cloud.version(cloud.objects()["notes"]) == {"a.txt": b"edited"}


def test_after_a_kill_it_says_what_the_next_mount_will_mend(d1: MountKit) -> None:
    (d1.path / "notes").mkdir()
    d1.sync()
    d1.kill()
    d1.oaiofs("umount", d1.path)
    (working_copy(d1, "notes") / "found.txt").write_bytes(b"found")
    assert checked(d1, "--client-root", d1.client_root)[0] == 1
    assert checked(d1, "--client-root", d1.client_root)[0] == 1, "looking changes nothing"
    done = d1.oaiofs("check", "--repair", "--client-root", d1.client_root)
    assert done.returncode == 0, done.stdout
    assert checked(d1, "--client-root", d1.client_root)[0] == 0


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "ended in order"])
def test_a_damaged_state_file_costs_no_edit(new_mount: MountMaker, d2: MountKit, cloud: Cloud, killed: bool) -> None:
    d1 = new_mount("d1", quiet=60.0)  # so that nothing is sent unless it is asked for
    (d2.path / "notes").mkdir()
    for name in ("a.txt", "b.txt", "c.txt"):
        (d2.path / "notes" / name).write_bytes(name.encode())
    d2.sync()
    d1.sync()
    here, there = d1.path / "notes", d2.path / "notes"
    assert (here / "a.txt").read_bytes() == b"a.txt"  # the others stay placeholders
    wanted = {"a.txt": b"a.txt", "b.txt": b"b.txt", "c.txt": b"c.txt"}
    d1.expect(DAMAGED, MADE_AGAIN)
    if killed:
        wanted |= {"a.txt": b"edited", "new.txt": b"new"}
        for name in ("a.txt", "new.txt"):
            with open(here / name, "wb") as file:
                file.write(wanted[name])
                file.flush()
                os.fsync(file.fileno())
        d1.expect("was left by a mount that was killed")
        d1.kill()
    else:
        d1.stop()
    spoil(d1)
    d1.start()
    assert (here / "a.txt").read_bytes() == wanted["a.txt"]
    assert any("was damaged" in one["message"] for one in d1.status()["errors"])
    assert list(d1.client_root.glob("damaged/*/state.db"))
    d1.sync()
    wait_same(lambda: contents(here), wanted)
    d2.sync()
    wait_same(lambda: contents(there), wanted)
    [remote] = cloud.objects().values()
    assert cloud.version(remote) == wanted
    assert checked(d1, "--deep", d1.path)[0] == 0


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "values.json"}


def test_a_damaged_client_root_still_belongs_to_its_account(
    oaio_server: ServerKit, account: Account, new_mount: MountMaker
) -> None:
    kit = new_mount("d1")
    (kit.path / "notes").mkdir()
    kit.sync()
    kit.stop()
    (kit.client_root / "state.db").unlink()
    user, password = oaio_server.fresh_user("other")
    kit.password_file.write_text(password)
    code, said = once(kit, "--user", user)
    assert code == 2
    assert f"holds the objects of {account.user} at" in said
    kit.password_file.write_text(account.password)
    kit.expect(DAMAGED, MADE_AGAIN)
    kit.start()
    kit.sync()
    assert (kit.path / "notes").is_dir()
    assert kit.status()["device_id"] == "d1"
