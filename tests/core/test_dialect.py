"""The wire's spellings: what is read, what is refused, what is written."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaiofs import errors
from oaiofs.core import dialect, sidecar
from oaiofs.core.model import OaioId, Outgoing, Right, Stamp

STAMP = "20260101000000000001"


def wire(**changes: Any) -> dict[str, Any]:
    made = {
        "oaio_id": "oaiofs⫻jörg﹫pc⁄name⁄1",
        "client_stamp": STAMP,
        "server_stamp": STAMP,
        "client_values": {"_name": "name", "x": [1, {"y": None}], "_file_paths": ["a", "b/c"]},
        "server_values": {},
        "csh_id": "Digi",
        "username": "jörg",
        "device_id": "pc",
        "app_id": "oaiofs",
        "csh_access_right": "C",
    }
    return {**made, **changes}


def outgoing(**changes: Any) -> Outgoing:
    made = Outgoing(
        oaio_id=OaioId("id"),
        stamp=Stamp(STAMP),
        base="",
        values={"_name": "n", "_root_path": "{doc}", "x": 1},
        file_paths=("a", "b"),
        base_values={"x": 0},
        base_file_paths=("a",),
        csh_id="Digi",
    )
    return replace(made, **changes)


def test_an_object_is_read() -> None:
    read = dialect.read_object(wire())
    assert read.oaio_id == "oaiofs⫻jörg﹫pc⁄name⁄1"
    assert read.stamp == STAMP
    assert read.values == {"_name": "name", "x": [1, {"y": None}]}
    assert read.file_paths == ("a", "b/c")
    assert (read.right, read.csh_id) == (Right.CREATE, "Digi")
    assert (read.username, read.device_id, read.app_id) == ("jörg", "pc", "oaiofs")
    assert (read.dialect, read.skipped) == ("classic", ())


@pytest.mark.parametrize(
    ("told", "lineage"),
    [([STAMP], (STAMP,)), ([], ()), (None, ()), (5, ()), (STAMP, ()), ([STAMP, "x"], ()), ([STAMP, [STAMP]], ())],
)
def test_the_versions_that_one_was_made_from(told: object, lineage: tuple[str, ...]) -> None:
    assert dialect.read_object(wire(lineage=told)).lineage == lineage


def test_the_newer_dialect_is_read_into_classic_words() -> None:
    values = {"_name_VaK": "n", "x": 1, "_root_VaK": "{doc}", "_files_VaK": ["a"]}
    read = dialect.read_object(wire(client_values=values, csh_access_right="UaR"))
    assert list(read.values.items()) == [("_name", "n"), ("x", 1), ("_root_path", "{doc}")]
    assert read.file_paths == ("a",)
    assert (read.right, read.dialect) == (Right.UPDATE, "newer")


@pytest.mark.parametrize(
    ("right", "values", "expected"),
    [
        ("C", {}, "classic"),
        ("C", {"_name": ""}, "classic"),
        ("C", {"_name_VaK": ""}, "newer-keys"),
        ("C", {"_name_VaK": "", "_root_path": ""}, "classic"),
        ("CaR", {}, "newer"),
        ("CaR", {"_name_VaK": ""}, "newer"),
        ("CaR", {"_name": ""}, "newer-rights"),
        ("C", {"_root_VaK": ""}, "newer-keys"),
        ("C", {"_root_path_VaK": ""}, "newer-keys-root-path"),
        ("CaR", {"_root_path_VaK": "", "_name_VaK": ""}, "newer-root-path"),
        ("CaR", {"_root_path_VaK": "", "_root_VaK": ""}, "newer"),
        ("CaR", {"_root_path_VaK": "", "_root_path": ""}, "newer-rights"),
    ],
)
def test_dialects_are_told_apart(right: str, values: dict[str, Any], expected: str) -> None:
    assert dialect.read_object(wire(client_values=values, csh_access_right=right)).dialect == expected


@pytest.mark.parametrize("name", dialect.DIALECTS)
@pytest.mark.parametrize("right", Right)
def test_what_is_written_reads_the_same(name: str, right: Right) -> None:
    new = outgoing(dialect=name, right=right)
    raw = dialect.write_object(new, username="u", device_id="d", app_id="a")
    read = dialect.read_object(json.loads(json.dumps(raw)))
    assert (read.values, read.file_paths, read.right, read.dialect) == (new.values, new.file_paths, right, name)


def test_an_object_is_written_with_exactly_the_wires_keys() -> None:
    assert dialect.write_object(outgoing(base="b"), username="u", device_id="d", app_id="a") == {
        "oaio_id": "id",
        "client_stamp": STAMP,
        "server_stamp": "b",
        "client_values": {"_name": "n", "_root_path": "{doc}", "x": 1, "_file_paths": ["a", "b"]},
        "server_values": {"x": 0, "_file_paths": ["a"]},
        "csh_id": "Digi",
        "username": "u",
        "device_id": "d",
        "app_id": "a",
        "csh_access_right": "C",
    }
    assert tuple(dialect.write_object(outgoing(), username="", device_id="", app_id="")) == dialect.WIRE_KEYS


def test_an_object_is_written_in_its_dialect() -> None:
    raw = dialect.write_object(outgoing(dialect="newer"), username="u", device_id="d", app_id="a")
    assert raw["client_values"] == {"_name_VaK": "n", "_root_VaK": "{doc}", "x": 1, "_files_VaK": ["a", "b"]}
    assert raw["server_values"] == {"x": 0, "_files_VaK": ["a"]}
    assert raw["csh_access_right"] == "CaR"


@pytest.mark.parametrize("key", ["_root_VaK", "_root_path_VaK"])
@pytest.mark.parametrize("right", ["C", "CaR"])
def test_both_newer_spellings_of_the_root_path_come_back_as_they_were(key: str, right: str) -> None:
    raw = wire(client_values={"_name_VaK": "n", key: "{doc}/x", "_files_VaK": ["a"]}, csh_access_right=right)
    read = dialect.read_object(raw)
    assert read.values == {"_name": "n", "_root_path": "{doc}/x"}
    sent = outgoing(values=read.values, base_values={}, file_paths=read.file_paths, dialect=read.dialect)
    written = dialect.write_object(sent, username="u", device_id="d", app_id="a")
    assert (written["client_values"], written["csh_access_right"]) == (raw["client_values"], right)


def test_a_key_that_others_would_take_for_the_root_path_is_refused() -> None:
    new = outgoing(values={"_name": "n", "_root_path_VaK": "mine"}, base_values={}, dialect="newer")
    with pytest.raises(errors.InvalidSidecar, match="_root_path_VaK"):
        dialect.write_object(new, username="", device_id="", app_id="")


@pytest.mark.parametrize(("rights", "spoken"), [([], "classic"), (["C"], "classic"), (["C", "raR"], "newer-rights")])
def test_the_dialect_for_a_server(rights: list[str], spoken: str) -> None:
    assert dialect.of_server([dialect.read_object(wire(csh_access_right=right)) for right in rights]) == spoken


def test_no_files_no_list_of_files() -> None:
    raw = dialect.write_object(outgoing(file_paths=(), base_file_paths=()), username="", device_id="", app_id="")
    assert "_file_paths" not in raw["client_values"]
    assert "_file_paths" not in raw["server_values"]


def test_writing_does_not_change_the_values() -> None:
    new = outgoing()
    dialect.write_object(new, username="", device_id="", app_id="")
    assert new.values == {"_name": "n", "_root_path": "{doc}", "x": 1}


def test_a_key_that_the_dialect_needs_itself_is_refused_when_writing() -> None:
    with pytest.raises(errors.InvalidSidecar, match="_name_VaK"):
        dialect.write_object(
            outgoing(dialect="newer", values={"_name_VaK": "mine"}), username="", device_id="", app_id=""
        )


@pytest.mark.parametrize("missing", ["oaio_id", "client_stamp", "client_values", "csh_access_right"])
def test_what_must_be_there(missing: str) -> None:
    raw = wire()
    del raw[missing]
    with pytest.raises(errors.Protocol):
        dialect.read_object(raw)


@pytest.mark.parametrize("optional", ["server_stamp", "server_values", "csh_id", "username", "device_id", "app_id"])
def test_what_may_be_missing_or_null(optional: str) -> None:
    raw = wire()
    del raw[optional]
    assert dialect.read_object(raw) == dialect.read_object(wire(**{optional: None}))


def test_unknown_keys_do_no_harm() -> None:
    assert dialect.read_object(wire(extra={"a": 1})) == dialect.read_object(wire())


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels - 1):
        value = [value]
    return {"v": value}


@pytest.mark.parametrize(
    "changes",
    [
        {"oaio_id": ""},
        {"oaio_id": None},
        {"oaio_id": 7},
        {"oaio_id": ["id"]},
        {"oaio_id": "x" * 2001},
        {"oaio_id": "a\0b"},
        {"oaio_id": "a\nb"},
        {"oaio_id": "a\x7f"},
        {"oaio_id": "a\x9f"},
        {"oaio_id": "\ud800"},
        {"oaio_id": "other/20260101000000000001"},
        {"oaio_id": ".."},
        {"oaio_id": "."},
        {"client_stamp": ""},
        {"client_stamp": "20200101000000000001"},
        {"client_stamp": "20261301000000000001"},
        {"client_stamp": 20260101000000000001},
        {"client_values": []},
        {"client_values": "{}"},
        {"client_values": None},
        {"client_values": {"a": float("nan")}},
        {"client_values": {"a": [{"b": float("inf")}]}},
        {"client_values": {"a": "\udfff"}},
        {"client_values": {"\ud800": 1}},
        {"client_values": {"a": {"\ud800": 1}}},
        {"client_values": {1: 1}},
        {"client_values": {"a": {1, 2}}},
        {"client_values": nested(101)},
        {"client_values": nested(100_000)},
        {"csh_access_right": ""},
        {"csh_access_right": "W"},
        {"csh_access_right": "CaRaR"},
        {"csh_access_right": ["C"]},
        {"csh_id": 7},
        {"username": ["jörg"]},
        {"username": "a\x1b[31m"},
        {"device_id": "\ud800"},
        {"app_id": "x" * 2001},
    ],
)
def test_an_unusable_object_is_refused_with_a_sentence(changes: dict[str, Any]) -> None:
    with pytest.raises(errors.Protocol) as caught:
        dialect.read_object(wire(**changes))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


def test_the_limits_themselves_are_fine() -> None:
    read = dialect.read_object(wire(oaio_id="⁄" * 2000, client_values=nested(100)))
    assert len(read.oaio_id) == 2000


@pytest.mark.parametrize("raw", [None, 1, "x", [], [wire()], True])
def test_what_is_no_object(raw: object) -> None:
    with pytest.raises(errors.Protocol):
        dialect.read_object(raw)


def test_impossible_paths_are_skipped_and_the_rest_goes_on() -> None:
    read = dialect.read_object(wire(client_values={"_file_paths": ["ok", "../no", "/abs", 7, "", "a\0", "b/ok"]}))
    assert read.file_paths == ("ok", "b/ok")
    assert len(read.skipped) == 5


def test_a_list_of_files_that_is_none_is_skipped() -> None:
    read = dialect.read_object(wire(client_values={"x": 1, "_file_paths": "abc"}))
    assert (read.values, read.file_paths, len(read.skipped)) == ({"x": 1}, (), 1)


def test_reading_does_not_change_what_was_read() -> None:
    raw = wire()
    dialect.read_object(raw)
    assert raw == wire()


@pytest.mark.parametrize("right", Right)
@pytest.mark.parametrize("name", dialect.DIALECTS)
def test_rights(right: Right, name: str) -> None:
    assert dialect.read_right(dialect.write_right(right, name)) is right


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.binary(max_size=3),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text() | st.integers(), children, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(dialect.WIRE_KEYS), ANYTHING))
def test_any_hostile_object_is_read_or_refused(changes: dict[str, Any]) -> None:
    try:
        read = dialect.read_object(wire(**changes))
    except errors.Protocol:
        return
    json.dumps(read.values, allow_nan=False, ensure_ascii=False).encode()


USABLE = ANYTHING.filter(lambda value: dialect.values_problem({"": value}) is None)
VALUES = st.dictionaries(st.sampled_from(["_name", "_root_path", "a", "b", ""]), USABLE)


@given(VALUES, st.sampled_from(sorted(dialect.DIALECTS)))
def test_values_survive_any_dialect(values: dict[str, Any], name: str) -> None:
    raw = dialect.write_object(outgoing(values=values, dialect=name), username="", device_id="", app_id="")
    read = dialect.read_object(json.loads(json.dumps(raw)))
    assert list(read.values.items()) == list(values.items())


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"x": 10**4301}, "4300 digits"),
        ({"x": "y" * (8 << 20)}, "larger than"),
        ({"x": ["y" * 10_000] * 900}, "larger than"),
        ({"y" * 10_000 + str(number): 0 for number in range(900)}, "larger than"),
    ],
)
def test_values_too_large_for_a_sidecar_are_refused(values: dict[str, Any], why: str) -> None:
    problem = dialect.values_problem(values)
    assert problem is not None
    assert why in problem


def test_what_a_sidecar_can_hold_is_never_too_large() -> None:
    part = b'["a",1,null,{},{"k":[[],[{"b":"","c":0}]]}]'
    text = b'{"x":[' + b",".join([part] * 1000) + b'],"y":"%s"}'
    full = text % (b"z" * (sidecar.MAX_BYTES - len(text) + 2))
    assert len(full) == sidecar.MAX_BYTES
    assert dialect.values_problem(sidecar.parse(full)) is None
    assert dialect.values_problem({"x": "y" * (sidecar.MAX_BYTES - len('{"x":""}'))}) is None
    assert dialect.values_problem({"x": "y" * (sidecar.MAX_BYTES - len('{"x":""}') + 1)}) is not None
    assert dialect.values_problem({"x": 10**4299, "y": -(10**4299)}) is None


@pytest.mark.parametrize("classic", ["_name", "_root_path", "_file_paths"])
@pytest.mark.parametrize("right", ["C", "CaR"])
def test_keys_of_both_spellings_never_clash(classic: str, right: str) -> None:
    """Each stays what it is on the way in and on the way out: none may take the other's place."""
    both = {"_name_VaK": "newer", "_root_VaK": "newer", "_root_path_VaK": "newer", "_files_VaK": ["newer"]}
    both |= {classic: ["a"]}
    read = dialect.read_object(wire(client_values=both, csh_access_right=right))
    assert read.values == {key: value for key, value in both.items() if key != "_file_paths"}
    sent = outgoing(values=read.values, base_values={}, file_paths=read.file_paths, dialect=read.dialect)
    written = dialect.write_object(sent, username="u", device_id="d", app_id="a")
    assert dialect.read_object(written).values == read.values


@pytest.mark.parametrize("stamp", ["99991231235959999999", "99990101000000000000"])
def test_a_stamp_of_the_year_9999_is_one(stamp: str) -> None:
    assert dialect.read_object(wire(client_stamp=stamp)).stamp == stamp
