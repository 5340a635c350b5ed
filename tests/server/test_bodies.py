"""Objects as they arrive: what is let in, and that values stay the text they were."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaiofs.core.model import Right
from oaiofs.server import bodies

_STAMP = "20260101000000000001"

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def _body(values_text: str, oaio_id: str = "id", stamp: str = _STAMP) -> bytes:
    return f'{{"oaio_id":{json.dumps(oaio_id)},"client_stamp":"{stamp}","client_values":{values_text}}}'.encode()


@pytest.mark.parametrize(
    "values",
    [
        "{}",
        '{"b": 1, "a": 2}',
        '{"n":123456789012345678901234567890,"f":1.10,"e":1E2}',
        '{"emoji":"😀","escaped":"\\u00e4\\n","nested":{"x":[1,{"y":null}]}}',
        '{ "white" :\n [ ] }',
    ],
)
def test_values_keep_their_text(values: str) -> None:
    assert bodies.parse_announcement(_body(values)).values_text == values


@given(values=st.dictionaries(st.text(max_size=5), _json, max_size=5), indent=st.sampled_from([None, 1]))
def test_any_values_keep_their_text(values: dict[str, Any], indent: int | None) -> None:
    try:
        text = json.dumps(values, indent=indent)
        json.dumps(values, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        with pytest.raises(bodies.BadBody):
            bodies.parse_announcement(_body(text))
        return
    assert bodies.parse_announcement(_body(text)).values_text == text


def test_members_may_come_in_any_order_with_white_space_and_more_of_them() -> None:
    text = (
        f' {{ "more" : [1] , "client_values" : {{"a":1}} ,\n"oaio_id":"ä", "csh_id":null, "client_stamp":"{_STAMP}" }} '
    )
    found = bodies.parse_announcement(text.encode())
    assert found == bodies.Announcement("ä", _STAMP, "", '{"a":1}', "", "", "")


@pytest.mark.parametrize(
    "values",
    [
        "[]",
        '"text"',
        "null",
        '{"a":NaN}',
        '{"a":-Infinity}',
        '{"a":1e400}',
        '{"a":"\\ud800"}',
        '{"\\udfff":1}',
        '{"a":' + "[" * 101 + "]" * 101 + "}",
        '{"a":' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"a":' + "1" * 5000 + "}",
        '{"a":1',
        '{"a":"\x01"}',
    ],
)
def test_refused_values(values: str) -> None:
    with pytest.raises(bodies.BadBody):
        bodies.parse_announcement(_body(values))


def test_nesting_up_to_the_limit_is_accepted() -> None:
    values = '{"a":' + "[" * (bodies.DEEPEST - 1) + "]" * (bodies.DEEPEST - 1) + "}"
    assert bodies.parse_announcement(_body(values)).values_text == values


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b"\xef\xbb\xbf" + _body("{}"),
        _body("{}") + b"x",
        _body("{}")[:-1],
        _body("{}")[:-1] + b",}",
        _body("{}").replace(b'"oaio_id":', b'"oaio_id"'),
        _body("{}", oaio_id=""),
        _body("{}", oaio_id="x" * 2001),
        _body("{}", oaio_id="a\nb"),
        _body("{}", oaio_id="a\x7fb"),
        _body("{}", stamp="2026"),
        _body("{}", stamp="20261301000000000001"),
        _body("{}", stamp="20201231111111012345"),
        _body("{}").replace(b'"id"', b"7"),
        _body("{}")[:-1] + b',"csh_id":7}',
    ],
)
def test_refused_bodies(body: bytes) -> None:
    with pytest.raises(bodies.BadBody):
        bodies.parse_announcement(body)


def test_rights_in_both_spellings() -> None:
    assert [bodies.checked_right(text) for text in ("C", "DaR", "U", "raR", "x")] == list(Right)
    for text in ("", "c", "R", None, 1, ["C"], "CaRR"):
        with pytest.raises(bodies.BadBody):
            bodies.checked_right(text)


def test_same_values() -> None:
    assert bodies.same_values('{"a":1,"b":[2]}', '{ "b":[2], "a":1 }')
    assert not bodies.same_values('{"a":1}', '{"a":1.0}')
    assert not bodies.same_values('{"a":1}', '{"a":true}')
