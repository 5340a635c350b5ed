"""The sidecar: what is shown is what is stored, and a mistake in it is named with its place."""

import json
import re
import sys
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oaiofs.core import sidecar
from oaiofs.core.merge import same
from oaiofs.errors import InvalidSidecar
from tests.depth import examples

from .values import objects


def mistake(data: bytes) -> InvalidSidecar:
    with pytest.raises(InvalidSidecar) as caught:
        sidecar.parse(data)
    assert str(caught.value).isprintable()
    return caught.value


@given(objects)
@example({"big": 10**4299, "minus": -(10**4299), "float": 1.0, "small": 5e-324, "zero": -0.0, "b": True})
@example({"z": 1, "a": {"y": 1, "b": [{}, [], ""]}})
@example({"_name": "tea", "_root_path": "{doc}/x"})
@example({"\u2028": "\x7f\x85\ufeff"})
def test_there_and_back(values: dict[str, object]) -> None:
    back = sidecar.parse(sidecar.render(values))
    assert same(back, values)
    assert repr(back) == repr(values)  # the order of keys too, at each level, and the sign of zero


def test_what_it_looks_like() -> None:
    values = {"_name": "tea", "b": [1, 2.5], "a": {"ü": None}, "e": {}, "_file_paths": ["x"]}
    assert sidecar.render(values).decode() == (
        '{\n  "_name": "tea",\n  "b": [\n    1,\n    2.5\n  ],\n  "a": {\n    "ü": null\n  },\n  "e": {}\n}\n'
    )
    assert sidecar.render({}) == b"{}\n"


def test_only_the_list_of_files_at_the_top_is_left_out() -> None:
    assert sidecar.parse(sidecar.render({"x": {"_file_paths": [1]}})) == {"x": {"_file_paths": [1]}}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "half\ud800"])
def test_what_json_cannot_hold_is_not_rendered(value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        sidecar.render({"a": value})


@pytest.mark.parametrize(
    ("text", "line", "column", "why"),
    [
        ("", 1, 1, "empty"),
        (" \n\t", 1, 1, "empty"),
        ("[1]", 1, 1, "one object"),
        ('\n  "text"', 2, 3, "one object"),
        ("null", 1, 1, "one object"),
        ('{"a": 1\n "b": 2}', 2, 2, "comma"),
        ('{\n  "a": 1,\n}', 2, 9, "comma before"),
        ('{"a": [1, 2, ]}', 1, 12, "comma before"),
        ("{'a': 1}", 1, 2, "key in double quotes"),
        ("{a: 1}", 1, 2, "key in double quotes"),
        ('{"a" 1}', 1, 6, "colon"),
        ('{"a": }', 1, 7, "value is missing"),
        ('{"a": True}', 1, 7, "value is missing"),
        ('{"a": 1} x', 1, 10, "after the closing brace"),
        ('{"a": "x', 1, 7, "double quote is missing"),
        ('{"a": "x\ny"}', 1, 9, "line's end"),
        ('{"a": "\\q"}', 1, 8, "backslash"),
        ('{"a": "\\ud8"}', 1, 9, "backslash"),
        ('{"a": 1,\n "b": {"c": 1, "c": 2}}', 2, 16, 'key "c" is here twice'),
        ('{"a": 1, "\\u0061": 1}', 1, 10, "is here twice"),
        ('{"b": [{"a": 1}, {"a": 1}], "b": 1}', 1, 29, 'key "b" is here twice'),
        ('{"a": NaN}', 1, 7, "NaN"),
        ('{"a": -Infinity}', 1, 7, "-Infinity"),
        ('{"a": -1.5e3, "b": [true, 0], "c": NaN}', 1, 36, "NaN"),
        ('{"a":\n [0, 1e400]}', 2, 6, "too large"),
        ('{"a": -1E+999}', 1, 7, "too large"),
        ('{"a": ' + "9" * 4301 + "}", 1, 7, "4300 digits"),
        ('{"a": "\\ud800"}', 1, 7, "half a character"),
        ('{"\\uDFFFx": 1}', 1, 2, "half a character"),
        ('{"a": "\\ude00\\ud83d"}', 1, 7, "half a character"),
        ('{"a": ' + "[" * 100 + "]" * 100 + "}", 1, 106, "nested deeper"),
        ('{"a": ' * 100_000, 1, 601, "nested deeper"),
        ('{"a": [' + "[{}]," * 99 + "[" * 2000, 1, 601, "nested deeper"),
        ('{"a": ' + "9" * 4300 + ', "b": NaN}', 1, 4314, "NaN"),
        ('{"x": 1,\n "_file_paths": []}', 2, 2, "putting them into this directory"),
        ('{"x": {"_name": 1}, "_name": 1}', 1, 21, "_name must be a text"),
        ('{"_root_path": null}', 1, 2, "_root_path must be a text"),
        ('{"_na\\u006de": []}', 1, 2, "_name must be a text"),
    ],
)
def test_mistakes_and_their_places(text: str, line: int, column: int, why: str) -> None:
    error = mistake(text.encode())
    assert why in str(error)
    assert (error.line, error.column) == (line, column)


@pytest.mark.parametrize(
    ("data", "line", "column"),
    [
        (b"\xff", 1, 1),
        (b'{\n"\xc3\xbc": "\xfc"}', 2, 7),
        ('{"a": 1}'.encode("utf-16"), 1, 1),
        (b'{"a": "\xed\xa0\x80"}', 1, 8),
    ],
)
def test_not_utf8(data: bytes, line: int, column: int) -> None:
    error = mistake(data)
    assert "UTF-8" in str(error)
    assert (error.line, error.column) == (line, column)


@pytest.mark.parametrize(
    ("data", "values"),
    [
        (b'\xef\xbb\xbf{"a": 1}\r\n', {"a": 1}),
        (b'{"a": "\\ud83c\\udf89 \\\\ud800"}', {"a": "🎉 \\ud800"}),
        (b'{"a": ' + b"[" * 99 + b"]" * 99 + b"}", None),
        (b'{"a": "' + b"[{" * 500 + b'"}', {"a": "[{" * 500}),
        (b'{"a": [' + b"{}," * 500 + b"[]]}", {"a": [{}] * 500 + [[]]}),
        (b'{"a": ' + b"-" + b"9" * 4300 + b"}", {"a": 1 - 10**4300}),
        (b'{"a": 1e308, "b": 1e-400, "NaN": "Infinity"}', {"a": 1e308, "b": 0.0, "NaN": "Infinity"}),
        (b'{"_name": "", "x": {"_name": 1, "_file_paths": 2}}', {"_name": "", "x": {"_name": 1, "_file_paths": 2}}),
    ],
)
def test_what_is_no_mistake(data: bytes, values: dict[str, object] | None) -> None:
    parsed = sidecar.parse(data)
    assert values is None or same(parsed, values)


def test_the_largest() -> None:
    room = sidecar.MAX_BYTES - len('{"a": ""}')
    assert len(sidecar.parse(b'{"a": "' + b"x" * room + b'"}')["a"]) == room
    error = mistake(b'{"a": "' + b"x" * (room + 1) + b'"}')
    assert "attached file" in str(error)
    assert (error.line, error.column) == (0, 0)


def outcome(data: bytes) -> dict[str, object] | InvalidSidecar:
    try:
        return sidecar.parse(data)
    except InvalidSidecar as error:
        return error


@given(st.binary(max_size=60) | st.text(st.sampled_from('{}[]":, \n\\u1eNa-'), max_size=60).map(str.encode))
@settings(max_examples=examples(300))
def test_any_bytes_are_values_or_a_mistake_with_a_place(data: bytes) -> None:
    result = outcome(data)
    if isinstance(result, InvalidSidecar):
        lines = data.removeprefix(b"\xef\xbb\xbf").decode(errors="replace").split("\n")
        assert 1 <= result.line <= len(lines)
        assert 1 <= result.column <= len(lines[result.line - 1]) + 1
    else:
        assert same(result, json.loads(data.decode("utf-8-sig")))


member = st.tuples(st.sampled_from("abc"), st.sampled_from(["1", "NaN", '"\\udc00"', "1e999", "[]"]))


@given(st.lists(member, max_size=4))
def test_a_mistake_is_found_wherever_it_is(pairs: list[tuple[str, str]]) -> None:
    """The fast parser and the search for the place agree on what a mistake is."""
    text = "{" + ", ".join(f'"{key}": {value}' for key, value in pairs) + "}"
    good = len({key for key, _ in pairs}) == len(pairs) and all(value in ("1", "[]") for _, value in pairs)
    if good:
        assert len(sidecar.parse(text.encode())) == len(pairs)
    else:
        assert not re.search(r"can't be kept", str(mistake(text.encode())))


@pytest.mark.parametrize(
    "text", ['{"a": "' + '\\"' * 500_000, "[" * 1_000_000, '{"a": ["x' + '", "x' * 200_000, "-" * 1_000_000]
)
def test_hostile_text_is_judged_in_linear_time(text: str) -> None:
    started = time.process_time()
    mistake(text.encode())
    assert time.process_time() - started < 5


def test_a_lower_limit_of_digits_is_no_other_error() -> None:
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(640)
    try:
        assert "digits" in str(mistake(b'{"x": ' + b"7" * 1000 + b"}"))
        assert sidecar.parse(b'{"x": ' + b"7" * 600 + b"}")
    finally:
        sys.set_int_max_str_digits(before)


@pytest.mark.parametrize("unit", ["[", "{", '"', "\\", ",", "\\u", '"\\', "1e", "-", "\n", '{"a":', "[]", '"",'])
def test_the_largest_hostile_texts_end(unit: str) -> None:
    mistake(b'{"a": ' + (unit * (sidecar.MAX_BYTES // len(unit) - 10)).encode())
