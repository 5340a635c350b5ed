"""The README's example for developers, as it stands there, and its table of the existing client's abilities."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from oaiofs.client import OaioClient
from tests.readme import FOR_DEVELOPERS, interop_table
from tests.realpeer import peer_python
from tests.serverkit import ServerKit


async def test_the_example_runs(oaio_server: ServerKit, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = re.findall(r"```python\n(.*?)```", FOR_DEVELOPERS, re.DOTALL)[0]
    name, password = oaio_server.fresh_user("alice")
    friend, _ = oaio_server.fresh_user("bob")
    scope: dict[str, Any] = {}
    exec(source.replace('"alice"', repr(name)).replace('"bob"', repr(friend)), scope)
    await scope["main"](oaio_server.host, password, str(tmp_path / "root"))
    printed = capsys.readouterr().out
    assert "'text': 'hello all'" in printed
    assert printed.endswith("b'dear bob'\n")


@pytest.mark.peer
def test_the_table_has_each_public_name_of_the_existing_client_and_the_library_has_it() -> None:
    code = "from ae.oaio_client import OaioClient as c; print(*(n for n in vars(c) if n[0] != '_'))"
    told = subprocess.run([peer_python(), "-c", code], capture_output=True, text=True, check=True)
    names = {*told.stdout.split(), "client_objectz"}
    table = {name: row.library for name, row in interop_table().items() if name.isidentifier() and name != "OaioClient"}
    assert table.keys() == names
    assert all(f"`{name}" in cell for name, cell in table.items())
    assert all(hasattr(OaioClient, name) for name in names)
    undocumented = [name for name, one in vars(OaioClient).items() if name[0] != "_" and not inspect.getdoc(one)]
    assert undocumented == []


def test_importing_the_package_brings_none_of_it() -> None:
    code = "import oaiofs, sys; print(*(n for n in ('trio', 'httpx', 'oaiofs.client') if n in sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split() == []
