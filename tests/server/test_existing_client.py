"""The existing client (ae-oaio-client 0.3.19), as it is, against the real server and its storage host."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.realpeer import peer_python
from tests.serverkit import ServerKit

pytestmark = pytest.mark.peer


def test_a_day_with_the_existing_client(oaio_server: ServerKit, tmp_path: Path) -> None:
    accounts = [*oaio_server.fresh_user("alice"), *oaio_server.fresh_user("Jörg")]
    script = Path(__file__).with_name("peer_story.py")
    command = [peer_python(), str(script), oaio_server.host, str(tmp_path), *accounts]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    # the client prints its own messages before
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "first sync": [True, ""],
        "registered": [True, True, True, ""],
        "second device": True,
        "second device's letter": {"letter.txt": "dear bob"},
        "folder file": "content of deep/zwölf & 3.txt",
        "update came back": [-1, {"letter.txt": "dear all"}],
        "repeated upload": [True, ""],
        "repeated upload came": {"letter.txt": "dear all"},
        "bob before": 0,
        "share": True,
        "bob's letter": {"letter.txt": "dear all"},
        "access": ["C", "r"],
        "bob's upload refused": True,
        "share more": True,
        "bob's upload": True,
        "bob's delete refused": False,
        "unshare": "",
        "bob after": 0,
        "delete": "",
        "left": True,
        "wrong password": False,
    }
