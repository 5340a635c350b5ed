"""A mount against a plain disk, as a Hypothesis state machine: the shortest sequence that tells them apart is shown."""

from __future__ import annotations

import itertools
import random
import shutil
from pathlib import Path

from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from tests.depth import deep, examples
from tests.mountkit import LIFETIME, MountKit, MountMaker, needs_fuse

from .differential import KINDS, Chance, Disk, operation
from .trees import SIDECAR, without_times

pytestmark = needs_fuse

SETTINGS = settings(
    max_examples=examples(15), stateful_step_count=deep(40, 80), deadline=None, print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
_numbers = itertools.count(1)


class _Model(RuleBasedStateMachine):
    """One object of a mount and one folder beside it, to both of which the same is done."""

    mount: MountKit
    plain_root: Path

    def __init__(self) -> None:
        super().__init__()
        name = f"example {next(_numbers)}"
        self.plain = Disk(self.plain_root / name)
        self.mounted = Disk(self.mount.path / name, frozenset({SIDECAR}))
        for disk in (self.plain, self.mounted):
            Path(disk.root).mkdir()

    @rule(kind=st.sampled_from(sorted(KINDS)), source=st.randoms(use_true_random=False))
    def do(self, kind: str, source: random.Random) -> None:
        name, act = operation(Chance(source, self.plain.root), KINDS[kind])
        note(name)
        assert act(self.mounted) == act(self.plain), name

    @rule()
    def look(self) -> None:
        assert without_times(self.mounted.root) == without_times(self.plain.root)

    def teardown(self) -> None:
        try:
            assert without_times(self.mounted.root) == without_times(self.plain.root)
        finally:
            for disk in (self.mounted, self.plain):
                disk.close()
                shutil.rmtree(disk.root)


def test_a_mount_does_what_a_plain_disk_does(new_mount: MountMaker, tmp_path: Path) -> None:
    d1 = new_mount("d1", lifetime=max(LIFETIME, SETTINGS.max_examples + 60))  # an example takes a fraction of a second

    class Model(_Model):
        mount = d1
        plain_root = tmp_path

    run_state_machine_as_test(Model, settings=SETTINGS)
