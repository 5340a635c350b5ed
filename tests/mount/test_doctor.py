"""``oaiofs doctor``: what it says of a machine where all is well, and of each thing that is not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.mountkit import MountKit, MountMaker, needs_fuse
from tests.serverkit import ServerKit

pytestmark = needs_fuse


def findings(kit: MountKit, code: int, *words: object) -> dict[str, dict[str, Any]]:
    """What it finds, by what was looked at."""
    given = ("--server", kit.server.url, "--user", kit.account.user, "--client-root", kit.client_root, *words)
    run = kit.oaiofs("doctor", "--json", *given)
    assert (run.returncode, run.stderr) == (code, ""), run.stdout
    return {one["what"]: one for one in json.loads(run.stdout)["findings"]}


def wrong(found: dict[str, dict[str, Any]]) -> list[str]:
    return [what for what, one in found.items() if one["state"] == "wrong"]


def test_where_all_is_well(d1: MountKit) -> None:
    (d1.path / "notes").mkdir()
    d1.sync()
    d1.environ["OAIOFS_PASSWORD"] = d1.account.password
    found = findings(d1, 0)
    assert wrong(found) == []
    assert found[str(d1.path)]["says"] == "mounted, online, changes to be sent: 0"
    assert "has 1 objects for" in found["server"]["says"]
    assert "checks what a new version was made from" in found["server"]["says"]
    assert found["storage Digi"]["says"].startswith("signs you in, ")
    told = d1.oaiofs("doctor", "--server", d1.server.url, "--user", d1.account.user, "--client-root", d1.client_root)
    assert told.returncode == 0
    assert told.stdout.endswith("Nothing is wrong.\n")
    assert d1.account.password not in told.stdout


def test_a_password_that_is_missing_or_wrong(d1: MountKit) -> None:
    assert wrong(findings(d1, 1)) == ["password"]
    d1.environ["OAIOFS_PASSWORD"] = "wrong"
    found = findings(d1, 1)
    assert wrong(found) == ["server"]
    assert "password" in found["server"]["says"]


def test_a_server_that_is_away(new_mount: MountMaker, oaio_server: ServerKit) -> None:
    kit = new_mount("away", start=False, environ={"OAIOFS_PASSWORD": "any"})
    kit.server = ServerKit("http://127.0.0.1:9", oaio_server.data, oaio_server.pid)  # nobody listens there: discard
    found = findings(kit, 1)
    assert wrong(found) == ["server"]
    assert "mounts work offline" in found["server"]["do"]
    assert "the first mount makes it" in found["client root"]["says"]


def test_what_a_killed_mount_left(d1: MountKit) -> None:
    d1.kill()
    d1.environ["OAIOFS_PASSWORD"] = d1.account.password
    found = findings(d1, 1)
    assert wrong(found) == [str(d1.path)]
    assert f"oaiofs umount {d1.path}" in found[str(d1.path)]["do"]
    assert d1.oaiofs("umount", d1.path).returncode == 0
    assert wrong(findings(d1, 0)) == []


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
    found = findings(d1, 1)
    assert wrong(found) == ["client root"]
    part = {"account": "holds the objects of bob", "existing client": "existing client", "cache": "cache folder"}
    assert part[foreign] in found["client root"]["says"]


def test_no_account(d1: MountKit) -> None:
    run = d1.oaiofs("doctor")
    assert run.returncode == 1
    assert "WRONG  account: No account is known" in run.stdout
    assert run.stdout.endswith("1 thing wrong.\n")
