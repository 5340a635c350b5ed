"""Strategies for values as JSON has them, shared by the tests of the pure core."""

from hypothesis import strategies as st

from oaiofs.core.model import FILES_KEY, NAME_KEY, ROOT_PATH_KEY

RESERVED = (NAME_KEY, ROOT_PATH_KEY, FILES_KEY)

texts = st.text(max_size=8)  # no lone surrogates, which values never hold
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**60), 10**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
)
objects = st.dictionaries(texts.filter(lambda key: key not in RESERVED), json_values, max_size=6)

#: Few keys and few values, so that two sides often touch the same ones, and alike.
small_values = st.recursive(
    st.sampled_from([None, True, 0, 1, 1.0, "", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=5,
)
small_objects = st.dictionaries(st.sampled_from("abcd"), small_values, max_size=4)
