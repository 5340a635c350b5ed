"""JSON off the wire: what can be saved is saved."""

import contextlib
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaiofs import errors
from oaiofs.core import dialect
from oaiofs.remote import jsontext

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize("body", [b"", b"{", b"<html>secret</html>", b"\xff", b"[" * 100_000, b"[1] 2", b"1" * 5000])
def test_what_is_not_json(body: bytes) -> None:
    with pytest.raises(errors.Protocol) as caught:
        jsontext.parse(body)
    assert "secret" not in str(caught.value)


def test_a_byte_order_mark_does_no_harm() -> None:
    assert jsontext.parse(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


@pytest.mark.parametrize("body", [b"{}", b"null", b'"[]"', b"<html>", b"[1,", b"[[1]", b"\xff"])
def test_what_is_no_array(body: bytes) -> None:
    with pytest.raises(errors.Protocol):
        jsontext.parse_array(body)


@pytest.mark.parametrize(
    "bad", [b"[" * 50_000 + b"]" * 50_000, b"9" * 5000, b'{"a": [1, {"b": ' + b"7" * 4301 + b"}]}", b"nonsense"]
)
def test_one_bad_element_does_not_spoil_the_rest(bad: bytes) -> None:
    body = b'[{"a": "],[\\" "}, ' + bad + b", [1, 2]]"
    first, second, third = jsontext.parse_array(body)
    assert (first, third) == ({"a": '],[" '}, [1, 2])
    assert isinstance(second, errors.Protocol)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("evil", [b'"', b'"\\', b'"\\"', b"\\", b"[", b",", b"[]"])
def test_evil_text_is_cut_apart_in_linear_time(evil: bytes) -> None:
    with contextlib.suppress(errors.Protocol):
        jsontext.parse_array(b"[" + evil * 300_000 + b"x]")


def test_nan_is_left_to_the_object_that_holds_it() -> None:
    first, second = jsontext.parse_array(b'[{"a": NaN}, "\\ud800"]')
    assert isinstance(first, dict)
    assert math.isnan(first["a"])
    assert second == "\ud800"


@given(st.lists(JSON, max_size=5))
def test_cutting_apart_and_parsing_whole_agree(elements: list[Any]) -> None:
    text = json.dumps(elements)
    assert [json.loads(part) for part in jsontext._split_array(text.encode())] == elements


def test_values_that_would_fill_the_memory_are_not_made() -> None:
    assert jsontext.MAX_VALUES * 70 < 1 << 30, "bytes, see there"
    most = jsontext.MAX_VALUES
    for read in (jsontext.parse, jsontext.parse_array):
        assert len(read(b"[" + b"1," * (most - 1) + b"1]")) == most
        with pytest.raises(errors.Protocol, match=f"more than {most} values"):
            read(b"[" + b"1," * (most + 1) + b"1]")


@pytest.mark.parametrize("unit", [b"1,", b"[],", b"{},", b'"ab",', b"[", b'{"a":', b'"\\"",'])
def test_any_kind_of_value_counts(unit: bytes) -> None:
    jsontext._check_values(b"[" + unit * 40 + b"1]", 100)
    with pytest.raises(errors.Protocol, match="values"):
        jsontext._check_values(b"[" + unit * 101 + b"1]", 100)


@pytest.mark.parametrize("text", [",[{" * 100, '\\",' * 100, "\\\\" + "," * 200])
def test_commas_in_text_are_no_values(text: str) -> None:
    body = f'["{text}", 1]'.encode()
    assert json.loads(body)[1] == 1
    jsontext._check_values(body, 100)


@given(st.binary(max_size=80) | st.text(st.sampled_from('{}[]":, \n\\u1eNa-'), max_size=80).map(str.encode))
def test_any_bytes_are_elements_or_no_list(body: bytes) -> None:
    for text in (body, b"[" + body + b"]"):
        with contextlib.suppress(errors.Protocol):
            for element in jsontext.parse_array(text):
                with contextlib.suppress(errors.Protocol):
                    dialect.read_object(element)
