"""Folders with placeholders, there and back, as the existing client writes them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaiofs.core.rootpath import expand, places, shorten
from tests.realpeer import peer_python

HOME = "/home/ann"
PLACES = places(home=HOME, cwd="/srv/work", app_name="demo")


@pytest.mark.parametrize(
    ("path", "short"),
    [
        ("/home/ann/Documents/letters", "{doc}/letters"),
        ("/home/ann/Documents", "{doc}"),
        ("/home/ann/Documents/demo/x", "{ado}/x"),
        ("/home/ann/Documents/demonstration", "{doc}/demonstration"),
        ("/home/ann/.config/x", "{usr}/x"),
        ("/home/ann/.config/demo", "{app}"),
        ("/srv/work/x", "{cwd}/x"),
        ("/home/ann/other", "/home/ann/other"),
        ("/home/annabel/Documents/x", "/home/annabel/Documents/x"),
        ("//home/ann/./Documents//x/../y/", "{doc}/y"),
        ("/", "/"),
    ],
)
def test_the_longest_folder_gets_its_placeholder(path: str, short: str) -> None:
    assert shorten(path, PLACES) == short


@pytest.mark.parametrize(
    ("text", "folder"),
    [
        ("{doc}/letters", "/home/ann/Documents/letters"),
        ("{usr}", "/home/ann/.config"),
        ("{ado}/{app_name}.d", "/home/ann/Documents/demo/demo.d"),
        ("~/x", "/home/ann/x"),
        ("/abs/{unknown}", "/abs/{unknown}"),
        ("{unknown}/x", None),
        ("relative", None),
        ("", None),
        ("{doc", None),
        ("{doc}/\0", None),
        ("{doc}/../../bob", "/home/bob"),
    ],
)
def test_what_a_root_path_means_here(text: str, folder: str | None) -> None:
    assert expand(text, PLACES) == folder


def test_what_is_not_known_is_left_alone() -> None:
    few = places(home=HOME, config="/etc/x")
    assert shorten("/etc/x/y", few) == "{usr}/y"
    assert expand("{app}/x", few) is None
    assert expand("{cwd}/x", few) is None
    assert shorten(f"{HOME}/conf/x", places(home=HOME, config="conf")) == "{usr}/x"


parts = st.lists(st.sampled_from(["Documents", "demo", ".config", "a", "{x}", "ü b"]), max_size=4)


@given(st.sampled_from(["", HOME, "/srv/work"]), parts)
def test_there_and_back(top: str, below: list[str]) -> None:
    path = "/".join([top, *below]) or "/"
    assert expand(shorten(path, PLACES), PLACES) == path


@pytest.mark.peer
def test_as_the_existing_client(tmp_path: Path) -> None:
    paths = ["Documents/x", "Documents/demo/y", ".config/z", ".config/demo", "work/w", "other", "Documents/{x}/y"]
    paths = [f"{tmp_path}/{path}" for path in paths]
    script = (
        "import json, sys\n"
        "from ae.paths import normalize, placeholder_path\n"
        "short = [placeholder_path(normalize(path)) for path in json.loads(sys.argv[1])]\n"
        "print(json.dumps([short, [normalize(one) for one in short]]))\n"
    )
    (tmp_path / "work").mkdir()
    (tmp_path / "demo.py").write_text(script)
    done = subprocess.run(
        [peer_python(), str(tmp_path / "demo.py"), json.dumps(paths)], cwd=tmp_path / "work", check=True,
        capture_output=True, text=True, env={"HOME": str(tmp_path)}, timeout=60,
    )  # fmt: skip
    known = places(home=str(tmp_path), cwd=str(tmp_path / "work"), app_name="demo")
    ours = [shorten(path, known) for path in paths]
    assert json.loads(done.stdout) == [ours, [expand(one, known) for one in ours]]
