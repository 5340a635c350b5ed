"""A mount on a server and a storage host that are hostile in every way at once."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mount import hostile_site as site
from tests.mount.hostile_site import HostileSite
from tests.mountkit import Account, MountKit, needs_fuse, wait_for

pytestmark = needs_fuse

PASSWORD = "acc0unt-s3cret"
#: What may grow with a listing of some 20 MB and a tree of 20,000 entries, in KiB.
MEMORY = 200 * 1024


@pytest.fixture
def hostile() -> Iterator[HostileSite]:
    with site.hostile_site() as made:
        yield made


def mounted(hostile: HostileSite, *arguments: str) -> MountKit:
    kit = MountKit(hostile, Account("me", PASSWORD), arguments=arguments, fresh=True)  # type: ignore[arg-type] # its url is enough
    kit.expect(r" WARNING oaiofs\.(sync|sync\.watch|remote\.koofr_api): ")
    return kit


def resident(kit: MountKit) -> int:
    assert kit.process is not None
    status = Path(f"/proc/{kit.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def around(kit: MountKit) -> set[str]:
    """Everything near the mount that is not an object's working copy, by its path."""
    found = set()
    for top, folders, files in os.walk(kit.folder):
        if Path(top) in (kit.path, kit.client_root / "objects"):
            folders.clear()
            continue
        found |= {os.path.relpath(os.path.join(top, name), kit.folder) for name in (*folders, *files)}
    return {path for path in found if not path.endswith(("-wal", "-shm"))}


def test_the_good_beside_the_hostile_works_and_nothing_else_is_touched(hostile: HostileSite) -> None:
    with mounted(hostile) as kit:
        wait_for(lambda: len(kit.status()["objects"]) == 4, what="the usable objects")
        before, memory = around(kit), resident(kit)
        assert sorted(os.listdir(kit.path)) == ["_.⁄files", "good", "last", "twice"]
        files = kit.path / "_.⁄files"
        assert sorted(os.listdir(files)) == sorted([*site.SPOILT, "dup", "file", "fine", "values.json"])
        assert (files / "fine/deep").read_bytes() == site.GOOD
        for name in site.SPOILT:
            os.stat(files / name)
            with pytest.raises(OSError, match=r"\[Errno ") as caught:
                (files / name).read_bytes()
            assert caught.value.errno != errno.ENOTCONN, "the mount is still there"
        os.statvfs(kit.path)
        values = kit.path / "good/values.json"
        values.write_text('{"_name": "good", "mine": 1}')
        wait_for(lambda: hostile.uploads, what="the upload of what was changed")
        assert hostile.good["client_values"] == {"_name": "good", "mine": 1}
        told = kit.status()["errors"]
        assert len([one for one in told if one.get("what") == "left out"]) == site.IMPOSSIBLE_PATHS
        listed = [one for one in told if one.get("what") == "left out of the listing"]
        assert len(listed) == len(site.impossible_objects()) + 1  # and the older "good"
        shown = kit.oaiofs("status", kit.path)
        assert shown.returncode in (0, 1), shown.stderr
        assert all(char.isprintable() or char == "\n" for char in shown.stdout)
        assert hostile.requests == [], "nothing went to the host that it redirects to"
        assert around(kit) == before
        assert not [path for path in kit.folder.parent.iterdir() if path.name == "escaped"]
        assert os.listdir(kit.client_root / "staging") == []
        assert resident(kit) - memory < MEMORY
        assert kit.running


SECRETS = [PASSWORD, site.SESSION, site.CSRF, site.STORAGE_PASSWORD, site.TOKEN]


def leaks(folder: Path, *besides: Path) -> list[str]:
    """Where any secret is in the files below *folder*."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and path not in besides:
            content = path.read_bytes()
            found += [f"{path}: {secret}" for secret in SECRETS if secret.encode() in content]
    return found


def test_secrets_are_in_nothing_that_a_mount_leaves_or_says(hostile: HostileSite) -> None:
    """The server says all of them back, in its refusals too; the log is as detailed as it gets."""
    before = os.umask(0)
    try:
        kit = mounted(hostile, "-vv")
        kit.expect(".*")
        with kit:
            wait_for(lambda: len(kit.status()["objects"]) == 4, what="the usable objects")
            (kit.path / "_.⁄files/fine/deep").read_bytes()
            hostile.fails = True
            (kit.path / "good/values.json").write_text('{"_name": "good", "mine": 1}')
            with pytest.raises(OSError, match=r"\[Errno "):
                (kit.path / "_.⁄files/dup").read_bytes()
            wait_for(lambda: not kit.status()["online"], what="the refusal of all calls")
            said = [kit.oaiofs(*words) for words in (("status", kit.path, "--json"), ("-vv", "sync", kit.path))]
            said.append(kit.oaiofs("-vv", "login", hostile.url, "--user", "me", "--password-file", kit.password_file))
            assert kit.process is not None
            words = Path(f"/proc/{kit.process.pid}/cmdline").read_bytes().decode()
            texts = [words, json.dumps(kit.status()), *(one.stdout + one.stderr for one in said)]
            assert [(secret, text) for text in texts for secret in SECRETS if secret in text] == []
            for private in (kit.client_root, kit.folder / "run/oaiofs"):
                assert stat.S_IMODE(private.stat().st_mode) == 0o700, private
            for path in kit.client_root.iterdir():
                assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
            kit.stop()
            assert hostile.refusals > 3
            assert "***" in kit.log, "what is said back is in the log, but for the secrets"
            assert leaks(kit.folder, kit.password_file) == []
    finally:
        os.umask(before)
