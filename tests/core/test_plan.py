"""The plan, tried out on every small world there is.

The oracles here know nothing of the tables in the plan: they carry actions out on a model of a disk and ask whether
anything was lost. That they would notice is tested too, by spoiling each row of the tables in every way.
"""

import itertools
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaiofs.core import plan
from oaiofs.core.model import FileFact, FileSet, OaioId, Right, Stamp
from oaiofs.core.names import conflict_name, folders_of
from oaiofs.core.plan import ABSENT, UNKNOWN, FileAction, FileVerb, ObjectState, ObjectVerb

A, B, C, D = (FileFact(size=1, md5=letter * 32) for letter in "abcd")


def rename(path: str, taken: Collection[str]) -> str:
    return conflict_name(path, "lap", "42", taken)


def plan_files(base: FileSet, local: FileSet, remote: FileSet, merged: FileSet | None = None) -> tuple[FileAction, ...]:
    return plan.plan_files(base, local, remote, rename=rename, merged=merged)


# ------------------------------------------------------------------------------------------------ a model disk


class Disk:
    """Files as a file system has them: a name is a file or a folder, and nothing is replaced by accident."""

    def __init__(self, files: FileSet) -> None:
        self.files = dict(files)

    def check_free(self, path: str) -> None:
        assert path not in self.files, f"{path} is taken"
        assert not any(folder in self.files for folder in folders_of(path)), f"{path} is below a file"
        assert not any(other.startswith(path + "/") for other in self.files), f"{path} is a folder"

    def rename(self, path: str, target: str) -> None:
        fact = self.files.pop(path)
        self.check_free(target)
        self.files[target] = fact

    def carry_out(self, action: FileAction, base: FileSet, remote: FileSet, merged: FileSet) -> None:
        match action.verb:
            case FileVerb.TAKE:
                replaced = self.files.pop(action.path, None)
                assert replaced is None or same(replaced, base.get(action.path)), "an edit was overwritten"
                self.check_free(action.path)
                self.files[action.path] = remote[action.path]
            case FileVerb.DROP:
                assert same(self.files.pop(action.path), base[action.path]), "an edit was dropped"
                assert action.path not in remote
            case FileVerb.MOVE:
                self.rename(action.path, action.target)
                assert same(self.files[action.target], remote[action.target])
            case FileVerb.KEEP_BOTH:
                self.rename(action.path, action.target)
            case FileVerb.MERGE:
                replaced, theirs = self.files.pop(action.path), remote[action.path]
                assert not same(replaced, base.get(action.path)), "nothing was edited here"
                assert not same(theirs, base.get(action.path)), "nothing was edited there"
                assert not same(replaced, merged[action.path]), "it is here already"
                self.files[action.path] = merged[action.path]
            case FileVerb.ADOPT:
                assert same(self.files[action.path], remote[action.path])
            case FileVerb.KEEP:
                assert not same(self.files.get(action.path), remote.get(action.path)), "there is nothing to push"
            case FileVerb.NOTHING:
                pytest.fail("nothing is no action")


def same(a: FileFact | None, b: FileFact | None) -> bool:
    return (a is None and b is None) or (a is not None and a.same_content(b))


def after(base: FileSet, local: FileSet, remote: FileSet, outcome: FileFact | None = None) -> dict[str, FileFact]:
    """The disk when the plan has been carried out, having asked at each step and at the end that nothing was lost.

    *outcome* is what comes of merging the contents of any one path.
    """
    disk = Disk(local)
    merged = dict.fromkeys(plan.both_edited(base, local, remote, at_most=1), outcome) if outcome else {}
    actions = plan_files(base, local, remote, merged)
    for action in actions:
        disk.carry_out(action, base, remote, merged)
    aside = {action.path: action.target for action in actions if action.verb is FileVerb.KEEP_BOTH}
    for path in {*base, *local, *remote}:
        here, there = not same(local.get(path), base.get(path)), not same(remote.get(path), base.get(path))
        final = disk.files.get(path)
        if path in merged:
            assert here, "there is nothing to merge"
            assert there, "there is nothing to merge"
            assert same(final, merged[path]), "a merge was lost"
            continue
        if there and path in remote:
            assert same(final, remote[path]), "a remote edit was lost"
        if here and path in local and not same(local[path], remote.get(path)):
            assert same(disk.files.get(aside.get(path, path)), local[path]), "a local edit was lost"
        if not here and there and path not in remote:
            assert final is None, "a remote deletion was not followed"
        if here and not there and path not in local:
            assert final is None, "a local deletion was undone"
        if not here and not there:
            assert same(final, base.get(path))
    assert {path for path in disk.files if path not in {*base, *local, *remote}} == set(aside.values())
    told = {name for action in actions for name in (action.path, action.target)}
    unpushed = {path for path in {*disk.files, *remote} if not same(disk.files.get(path), remote.get(path))}
    assert unpushed <= told, "what is yet to be pushed is in the plan"
    agreed = {path for path in remote if same(local.get(path), remote[path]) and same(base.get(path), remote[path])}
    assert told.isdisjoint(agreed), "where nothing happened there is nothing to do"
    assert told.isdisjoint(path for path in base if path not in local and path not in remote)
    return disk.files


def check_world(base: FileSet, local: FileSet, remote: FileSet, outcome: FileFact | None = None) -> None:
    """One device with unpushed changes meets a newer version, pushes what came out, and a second device follows."""
    mine = after(base, local, remote, outcome)
    assert {action.verb for action in plan_files(remote, mine, remote)} <= {FileVerb.KEEP}, (
        "looking again changes nothing"
    )
    assert after(remote, mine, remote) == mine
    assert plan_files(mine, mine, mine) == ()
    assert same_files(after(remote, remote, mine), mine), "the other device ends with the same files"


def same_files(a: FileSet, b: FileSet) -> bool:
    return a.keys() == b.keys() and all(same(fact, b[path]) for path, fact in a.items())


# ------------------------------------------------------------------------------------------------- every world

CONTENTS = (None, A, B, C)
ONE_PATH = [{} if fact is None else {"f": fact} for fact in CONTENTS]
#: A name as a file or as a folder, and another name that its contents may move to.
TREES = [
    {**inner, **other}
    for inner in ({}, {"a": A}, {"a": B}, {"a/b": A}, {"a/b": B})
    for other in ({}, {"c": A}, {"c/d": B})
]


def check_every_state_of_one_path() -> None:
    for base, local, remote, outcome in itertools.product(ONE_PATH, ONE_PATH, ONE_PATH, (None, A, B, C, D)):
        check_world(base, local, remote, outcome)


def test_one_path_in_every_state() -> None:
    check_every_state_of_one_path()


@pytest.mark.parametrize("base", TREES, ids=str)
def test_files_and_folders_in_every_state(base: FileSet) -> None:
    for local, remote, outcome in itertools.product(TREES, TREES, (None, D)):
        check_world(base, local, remote, outcome)


def trees(paths: st.SearchStrategy[str]) -> st.SearchStrategy[FileSet]:
    return st.dictionaries(paths, st.sampled_from([A, B, C]), max_size=7).map(without_clashes)


def without_clashes(files: FileSet) -> FileSet:
    return {path: fact for path, fact in files.items() if not any(folder in files for folder in folders_of(path))}


some_trees = trees(st.lists(st.sampled_from("ab"), min_size=1, max_size=4).map("/".join))


@given(some_trees, some_trees, some_trees, st.sampled_from([None, A, B, C, D]))
def test_any_trees(base: FileSet, local: FileSet, remote: FileSet, outcome: FileFact | None) -> None:
    check_world(base, local, remote, outcome)


@given(some_trees, some_trees, some_trees)
def test_no_content_is_lost_whoever_pushes_first(base: FileSet, one: FileSet, two: FileSet) -> None:
    ends = []
    for first, second in [(one, two), (two, one)]:
        ends.append({(fact.size, fact.md5) for fact in after(base, second, after(base, first, base)).values()})
    assert ends[0] == ends[1]


#: Spoilt rows that come to the same: keeping both of one file is taking it.
NO_DIFFERENCE = {((plan.Change.GONE, plan.Change.EDITED), FileVerb.KEEP_BOTH)}
SPOILT_FILE_ROWS = [
    (row, verb)
    for row, right_verb in plan.FILE_TABLE.items()
    for verb in FileVerb
    if verb not in (right_verb, FileVerb.MOVE) and (row, verb) not in NO_DIFFERENCE
]


def test_the_file_table_is_complete() -> None:
    assert set(plan.FILE_TABLE) == set(itertools.product(plan.Change, plan.Change))
    assert FileVerb.MOVE not in plan.FILE_TABLE.values(), "a move is found in takes and drops, no path alone has it"


@pytest.mark.parametrize(("row", "verb"), SPOILT_FILE_ROWS)
def test_a_spoilt_file_table_is_noticed(
    row: tuple[plan.Change, plan.Change], verb: FileVerb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "FILE_TABLE", {**plan.FILE_TABLE, row: verb})
    with pytest.raises((AssertionError, KeyError, pytest.fail.Exception)):
        check_every_state_of_one_path()


# ------------------------------------------------------------------------------------------------- single plans


def shown(base: FileSet, local: FileSet, remote: FileSet) -> list[str]:
    return [str(action) for action in plan_files(base, local, remote)]


def test_a_remote_rename_is_a_local_one() -> None:
    base = {"old/a": A, "old/b": B, "c": C}
    assert shown(base, base, {"new/a": A, "new/b": B, "c": C}) == ["move: old/a -> new/a", "move: old/b -> new/b"]


def test_a_rename_of_an_edited_file_keeps_the_edit() -> None:
    assert shown({"a": A}, {"a": B}, {"c": A}) == ["take: c", "keep: a"]


def test_contents_without_a_hash_are_not_moved() -> None:
    bare = FileFact(1, "")
    assert shown({"a": bare}, {"a": bare}, {"b": bare}) == ["drop: a", "take: b"]


def test_each_dropped_file_moves_once() -> None:
    base = {"a": A, "b": A}
    assert shown(base, base, {"c": A, "d": A, "e": A}) == ["move: a -> c", "move: b -> d", "take: e"]
    assert shown(base, base, {"b": A, "c": A}) == ["move: a -> c"]


@pytest.mark.parametrize(
    ("base", "local", "remote", "actions"),
    [
        ({"a": A}, {"a": A}, {"a/b": A}, ["drop: a", "take: a/b"]),
        ({"a/b": A}, {"a/b": A}, {"a": A}, ["drop: a/b", "take: a"]),
        ({}, {"a": A}, {"a/b": B}, ["keep both: a -> a (conflict lap 42)", "take: a/b"]),
        (
            {},
            {"a/b": A, "a/c/d": B, "e": C},
            {"a": B},
            [
                "keep both: a/b -> a (conflict lap 42)/b",
                "keep both: a/c/d -> a (conflict lap 42)/c/d",
                "take: a",
                "keep: e",
            ],
        ),
        ({"a": A}, {"a/b": A}, {"a": A}, ["keep: a", "keep: a/b"]),  # only this side made a folder of it
        ({"f.txt": A}, {"f.txt": B}, {"f.txt": C}, ["keep both: f.txt -> f (conflict lap 42).txt", "take: f.txt"]),
        (
            {"f": A, "f (conflict lap 42)": A},
            {"f": B, "f (conflict lap 42)": A},
            {"f": C, "f (conflict lap 42)": A, "f (conflict lap 42) ~2/x": A},
            [
                "keep both: f -> f (conflict lap 42) ~3",
                "take: f",
                "take: f (conflict lap 42) ~2/x",
            ],
        ),
        ({"a": A}, {"a": B}, {"a": B}, ["adopt: a"]),
        ({}, {".x.swp": A}, {}, ["keep: .x.swp"]),
    ],
)
def test_plans(base: FileSet, local: FileSet, remote: FileSet, actions: list[str]) -> None:
    assert shown(base, local, remote) == actions


def test_only_what_both_edited_and_is_known_can_be_merged() -> None:
    big, bare = FileFact(9, "e" * 32), FileFact(1, "")
    base = dict.fromkeys(("both", "here", "there", "big here", "big there", "unknown", "alike", "gone"), A)
    local = {**base, "both": B, "here": B, "big here": big, "big there": B, "unknown": bare, "alike": B, "new": B}
    remote = {**base, "both": C, "there": C, "big here": C, "big there": big, "unknown": C, "alike": B, "new": C}
    del remote["gone"]
    assert plan.both_edited(base, local | {"gone": B}, remote, at_most=8) == ("both",)
    verbs = {action.path: action.verb for action in plan_files(base, local, remote, {"both": D})}
    assert verbs["both"] is FileVerb.MERGE
    assert shown({"f": A}, {"f": B}, {"f": C}) == ["keep both: f -> f (conflict lap 42)", "take: f"]
    assert [str(action) for action in plan_files({"f": A}, {"f": B}, {"f": C}, {"f": B})] == ["keep: f"], "here already"
    assert plan_files({"f": A}, {"f": A}, {"f": A}, {"f": D}) == (), "nobody edited it"


MS = 1_000_000


@pytest.mark.parametrize(
    ("base", "local", "remote", "actions"),
    [
        # The host tells no hash: size and time in milliseconds must do, and only against base.
        (FileFact(1, "a", 5 * MS + 1), FileFact(1, "b"), FileFact(1, "", 5 * MS), ["keep: f"]),
        (FileFact(1, "", 5 * MS), FileFact(1, "", 5 * MS), FileFact(1, "", 5 * MS + 9), []),
        (FileFact(1, "a", 5 * MS), FileFact(1, "a"), FileFact(1, "", 6 * MS), ["take: f"]),
        (FileFact(1, "a", 5 * MS), FileFact(1, "a"), FileFact(2, "", 5 * MS), ["take: f"]),
        (FileFact(1, "", 5 * MS), FileFact(1, "", 5 * MS), FileFact(1, "a", 5 * MS), []),
        (FileFact(1, "a", 5), FileFact(1, "a", 7), FileFact(1, "a", 9), []),  # the time alone is no change
        # With hashes the time says nothing.
        (FileFact(1, "a", 5 * MS), FileFact(1, "a", 5 * MS), FileFact(1, "b", 5 * MS), ["take: f"]),
        # A local file that nobody has hashed may be changed; it is not overwritten.
        (
            FileFact(1, "a", 5 * MS),
            FileFact(1, "", 5 * MS),
            FileFact(1, "b"),
            [KEPT := "keep both: f -> f (conflict lap 42)", "take: f"],
        ),
        (None, FileFact(1, "", 5 * MS), FileFact(1, "", 5 * MS), [KEPT, "take: f"]),
    ],
)
def test_without_hashes(base: FileFact | None, local: FileFact, remote: FileFact, actions: list[str]) -> None:
    assert shown({"f": base} if base else {}, {"f": local}, {"f": remote}) == actions


def test_ten_thousand_files_are_planned_at_once() -> None:
    base = {f"d{n % 100}/{n}": FileFact(n, f"{n:032x}") for n in range(10_000)}
    local = {path: fact for path, fact in base.items() if fact.size % 3} | {"new": A}
    remote = {path + "x" * (fact.size % 2): fact for path, fact in base.items()}
    assert len(plan_files(base, local, remote)) > 5_000


# --------------------------------------------------------------------------------------------------- one object


@dataclass(frozen=True)
class Listed:
    stamp: Stamp
    right: Right


BASE, PENDING, OTHER = Stamp("20260101000000000001"), Stamp("20260101000000000002"), Stamp("20260101000000000003")
EVERY_REMOTE: list[plan.Remote] = [
    ABSENT,
    UNKNOWN,
    *itertools.starmap(Listed, itertools.product([BASE, PENDING, OTHER], Right)),
]
EVERY_STATE = [
    ObjectState(*facts)
    for facts in itertools.product(
        [None, BASE], [False, True], [False, True], [False, True], Right, [None, PENDING], [False, True]
    )
]

_V = ObjectVerb
#: What a verb does to the two sides, in words of its own.
TAKES_REMOTE = {_V.PULL, _V.MERGE}
CHANGES_SERVER = {_V.REGISTER, _V.PUSH, _V.DELETE, _V.UNSUBSCRIBE}
ENDS_HERE = {_V.LEAVE, _V.FORGET, _V.DELETE, _V.UNSUBSCRIBE}
TOUCHES_NOTHING = {_V.NOTHING, _V.PARK, _V.KEEP_ORPHAN}


def objections(state: ObjectState, remote: plan.Remote, verb: ObjectVerb) -> Iterator[str]:
    """Why *verb* would be wrong: independent of how the plan finds its verb."""
    seen = isinstance(remote, Listed) and remote.right.may_read
    gone = remote is ABSENT or (isinstance(remote, Listed) and not seen)
    right = remote.right if isinstance(remote, Listed) else state.right
    ours = isinstance(remote, Listed) and seen and remote.stamp == state.pending and not state.rebuilt
    as_agreed = isinstance(remote, Listed) and seen and remote.stamp == state.base and not state.rebuilt
    unpushed = state.dirty or state.rebuilt
    foreign = seen and not ours and not as_agreed
    if remote is UNKNOWN:
        yield from ["nothing is known"] * (verb is not _V.NOTHING)
        return
    rules = {
        "a local edit would be lost": (unpushed and not state.removed and verb in {_V.PULL, *ENDS_HERE}),
        "a draft would be lost": state.draft and verb is _V.LEAVE,
        "a remote edit would be lost or not be seen": foreign and verb not in {*TAKES_REMOTE, _V.RESURRECT, _V.PARK},
        "there is nothing new to take": verb in {*TAKES_REMOTE, _V.RESURRECT} and not foreign,
        "the object is not there": gone and verb in {*CHANGES_SERVER, *TAKES_REMOTE, _V.PARK} - {_V.REGISTER},
        "the object is there": seen and verb in {_V.REGISTER, _V.LEAVE, _V.FORGET, _V.KEEP_ORPHAN},
        "it was there before": verb is _V.REGISTER and (state.base is not None or state.rebuilt),
        "what is missing here would be removed there": state.rebuilt and verb is _V.PUSH,
        "nothing was learnt of the server's version": state.rebuilt and verb is _V.PARK,
        "it never was there": verb in {_V.LEAVE, _V.KEEP_ORPHAN} and state.base is None and not state.rebuilt,
        "the right does not allow it": (verb in {_V.PUSH, _V.MERGE} and not right.may_update and not state.rebuilt)
        or (verb is _V.DELETE and not right.may_delete),
        "the right allows more": (verb is _V.PARK and right.may_update)
        or (verb is _V.UNSUBSCRIBE and right.may_delete),
        "there is nothing to push": verb in {_V.PUSH, _V.MERGE, _V.PARK} and not unpushed,
        "the user removed it": state.removed and verb not in {*ENDS_HERE - {_V.LEAVE}, _V.RESURRECT},
        "nobody removed it": not state.removed and verb in {*ENDS_HERE - {_V.LEAVE}, _V.RESURRECT},
        "it is our own version": ours and not state.removed and verb is not _V.ADOPT_PENDING,
        "it is not our own version": verb is _V.ADOPT_PENDING and not ours,
        "there is something to do": verb is _V.NOTHING and not (as_agreed and not unpushed),
        "nothing is unpushed": verb is _V.KEEP_ORPHAN and not (unpushed or state.draft),
    }
    yield from (why for why, broken in rules.items() if broken)


def check_every_object(decide: Callable[[ObjectState, plan.Remote], ObjectVerb]) -> None:
    for state, remote in itertools.product(EVERY_STATE, EVERY_REMOTE):
        verb = decide(state, remote)
        assert list(objections(state, remote, verb)) == [], f"{verb} for {state}, {remote}"


def test_every_object_state() -> None:
    check_every_object(plan.plan_object)


def test_the_oracle_leaves_one_verb_for_each_state() -> None:
    for state, remote in itertools.product(EVERY_STATE, EVERY_REMOTE):
        assert len([verb for verb in ObjectVerb if not any(objections(state, remote, verb))]) == 1, f"{state}, {remote}"


def spoilt_tables() -> Iterator[tuple[plan.Row, ...]]:
    table = plan.OBJECT_TABLE
    for number, row in enumerate(table):
        yield table[:number] + table[number + 1 :]
        yield from (
            (*table[:number], replace(row, verb=verb), *table[number + 1 :])
            for verb in ObjectVerb
            if verb is not row.verb
        )


def test_a_spoilt_object_table_is_noticed() -> None:
    tables = list(spoilt_tables())
    assert len(tables) == len(plan.OBJECT_TABLE) * len(ObjectVerb)
    for table in tables:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(plan, "OBJECT_TABLE", table)
            patch.setattr(plan, "_deciding_row", plan._deciding_row.__wrapped__)
            with pytest.raises((AssertionError, StopIteration)):
                check_every_object(plan.plan_object)


def test_the_table_can_be_printed() -> None:
    state = ObjectState(BASE, dirty=True, removed=False, draft=False, right=Right.UPDATE, pending=None)
    row = plan.explain_object(state, Listed(BASE, Right.UPDATE))
    assert (row.verb, row.why) == (ObjectVerb.PUSH, "only this side moved")
    assert all(row.why for row in plan.OBJECT_TABLE)


@pytest.mark.parametrize("remote", [remote for remote in EVERY_REMOTE if remote is not UNKNOWN], ids=str)
def test_doing_what_the_plan_says_comes_to_rest(remote: plan.Remote) -> None:
    for start in EVERY_STATE:
        state, there = start, remote
        for _ in range(6):
            verb = plan.plan_object(state, there)
            if verb in TOUCHES_NOTHING or verb in ENDS_HERE:
                break
            state, there = carried_out(state, there, verb)
        else:
            pytest.fail(f"{start} with {remote} never comes to rest")
        if state.dirty and not start.removed:
            assert verb in (ObjectVerb.PARK, ObjectVerb.KEEP_ORPHAN)


def carried_out(state: ObjectState, remote: plan.Remote, verb: ObjectVerb) -> tuple[ObjectState, plan.Remote]:
    match verb:
        case ObjectVerb.REGISTER | ObjectVerb.PUSH:
            pushed = Stamp("20260101000000000009")
            right = remote.right if isinstance(remote, Listed) else Right.CREATE
            return replace(state, base=pushed, dirty=False, pending=None), Listed(pushed, right)
        case ObjectVerb.RESURRECT:
            return replace(state, removed=False), remote
    assert isinstance(remote, Listed)
    assert verb in (ObjectVerb.PULL, ObjectVerb.MERGE, ObjectVerb.ADOPT_PENDING)
    return replace(state, base=remote.stamp, pending=None, rebuilt=False), remote


def test_only_a_complete_listing_knows_what_is_gone() -> None:
    here, gone = OaioId("here"), OaioId("gone")
    listed = {here: Listed(BASE, Right.READ)}
    assert plan.observation(here, listed, complete=False) == Listed(BASE, Right.READ)
    assert plan.observation(gone, listed, complete=True) is ABSENT
    assert plan.observation(gone, listed, complete=False) is UNKNOWN
