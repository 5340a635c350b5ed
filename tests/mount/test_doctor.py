"""``oaiofs doctor``: what it says of a machine where all is well, and of each thing that is not."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from tests.mountkit import MountKit, MountMaker, needs_fuse
from tests.serverkit import ServerKit

pytestmark = needs_fuse


def findings(kit: MountKit) -> dict[str, dict[str, Any]]:
    """What it finds, by what was looked at; but for the mounts of tests that run at the same time."""
    given = ("--server", kit.server.url, "--user", kit.account.user, "--client-root", kit.client_root)
    run = kit.oaiofs("doctor", "--json", *given)
    found = json.loads(run.stdout)["findings"]
    bad = any(one["state"] == "wrong" for one in found)
    assert (run.returncode, run.stderr) == (int(bad), ""), run.stdout
    return {one["what"]: one for one in found if one["what"] == str(kit.path) or not one["what"].startswith("/")}


def told(kit: MountKit, *words: object) -> list[str]:
    """What it says to a reader that is wrong, but for mounts; its last line and exit code count them too."""
    run = kit.oaiofs("doctor", *words)
    *lines, summary = run.stdout.splitlines()
    bad = [line.removeprefix("WRONG  ") for line in lines if line.startswith("WRONG ")]
    counted = f"{len(bad)} thing{'s' if len(bad) > 1 else ''} wrong." if bad else "Nothing is wrong."
    assert (run.returncode, summary) == (int(bool(bad)), counted), run.stdout
    assert kit.account.password not in run.stdout
    return [line for line in bad if not line.startswith("/")]


def wrong(found: dict[str, dict[str, Any]]) -> list[str]:
    return [what for what, one in found.items() if one["state"] == "wrong"]


def test_where_all_is_well(d1: MountKit) -> None:
    (d1.path / "notes").mkdir()
    d1.sync()
    d1.environ["OAIOFS_PASSWORD"] = d1.account.password
    found = findings(d1)
    assert wrong(found) == []
    assert found[str(d1.path)]["says"] == "mounted, online, changes to be sent: 0"
    assert "has 1 objects for" in found["server"]["says"]
    assert "checks what a new version was made from" in found["server"]["says"]
    assert found["storage Digi"]["says"].startswith("signs you in, ")
    assert told(d1, "--server", d1.server.url, "--user", d1.account.user, "--client-root", d1.client_root) == []


def test_a_password_that_is_missing_or_wrong(d1: MountKit) -> None:
    assert wrong(findings(d1)) == ["password"]
    d1.environ["OAIOFS_PASSWORD"] = "wrong"
    found = findings(d1)
    assert wrong(found) == ["server"]
    assert "password" in found["server"]["says"]


def test_a_server_that_is_away(new_mount: MountMaker, oaio_server: ServerKit) -> None:
    kit = new_mount("away", start=False, environ={"OAIOFS_PASSWORD": "any"})
    kit.server = ServerKit("http://127.0.0.1:9", oaio_server.data, oaio_server.pid)  # nobody listens there: discard
    found = findings(kit)
    assert wrong(found) == ["server"]
    assert "mounts work offline" in found["server"]["do"]
    assert "the first mount makes it" in found["client root"]["says"]


def test_what_a_killed_mount_left(d1: MountKit) -> None:
    d1.kill()
    d1.environ["OAIOFS_PASSWORD"] = d1.account.password
    found = findings(d1)
    assert wrong(found) == [str(d1.path)]
    assert f"oaiofs umount {d1.path}" in found[str(d1.path)]["do"]
    assert d1.oaiofs("umount", d1.path).returncode == 0
    assert wrong(findings(d1)) == []


def test_another_sessions_mount_that_hangs_does_not_hold_it_up(d1: MountKit, new_mount: MountMaker) -> None:
    assert d1.process is not None
    other = new_mount("other", start=False)
    try:
        d1.process.send_signal(signal.SIGSTOP)
        run = other.oaiofs("doctor", "--json", timeout=30)
    finally:
        d1.process.send_signal(signal.SIGCONT)
    found = {one["what"]: one for one in json.loads(run.stdout)["findings"]}
    assert found[str(d1.path)]["state"] == "wrong"
    assert "hangs" in found[str(d1.path)]["says"]


@pytest.mark.parametrize("foreign", ["account", "existing client", "cache"])
def test_a_client_root_that_can_not_be_used(d1: MountKit, foreign: str) -> None:
    d1.stop()
    d1.environ["OAIOFS_PASSWORD"] = d1.account.password
    if foreign == "account":
        label = json.loads((d1.client_root / "root.json").read_text())
        (d1.client_root / "root.json").write_text(json.dumps({**label, "account": "bob http://127.0.0.1:9"}))
    elif foreign == "existing client":
        (d1.client_root / "objz").mkdir()
    else:
        (d1.client_root / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55")
    found = findings(d1)
    assert wrong(found) == ["client root"]
    part = {"account": "holds the objects of bob", "existing client": "existing client", "cache": "cache folder"}
    assert part[foreign] in found["client root"]["says"]


def test_no_account(d1: MountKit) -> None:
    [only] = told(d1)
    assert only.startswith("account: No account is known")
