"""Two devices of one user: what is done on one arrives at the other, and on the servers, byte for byte."""
from __future__ import annotations
from tests.mountkit import Cloud, MountKit, needs_fuse, tree, wait_for, wait_same

pytestmark = needs_fuse

def test_smoke(d1: MountKit, d2: MountKit, cloud: Cloud) -> None:
    (d1.path / "notes").mkdir()
    (d1.path / "notes" / "a.txt").write_text("hallo")
    wait_same(lambda: tree(d2.path / "notes").get("a.txt"), b"hallo")
    d1.sync()
    print(d1.status(), cloud.objects())
    print(cloud.stored(cloud.objects()["notes"]), cloud.version(cloud.objects()["notes"]))
