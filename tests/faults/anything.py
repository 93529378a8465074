"""Values of every kind, as users and their programs pass them by mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from itr_deploy.errors import ItrDeployError

NUMBERS = st.sampled_from(
    (*(0, 1, -1, 2, 5, 1 << 31, 1 << 63, 1 << 70, -(1 << 63)), *(0.5, 1e308, -0.0), True, False)
) | st.floats(allow_nan=True, allow_infinity=True)
TEXTS = st.text(st.characters(codec=None), max_size=40) | st.sampled_from(
    (
        "",
        " ",
        "\0",
        "\ud800",
        "a" * 5000,
        "a dog " * 300,
        "'",
        "`",
        "--",
        "id = 'a'",
        "👍🏽",
        "\ufeff",
    )
)
SCALARS = st.none() | NUMBERS | TEXTS | st.binary(max_size=8)
ARRAYS = arrays.arrays(
    st.sampled_from(("f4", "f8", "f2", "i8", "u1", "?", "c8", "U3", ">f4", "M8[D]")),
    arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
)
ANYTHING = st.recursive(
    SCALARS | ARRAYS | st.sampled_from((object(), len, Path("nowhere"), range(3))),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(TEXTS, inner, max_size=3)
    ),
    max_leaves=6,
)


def or_anything(good: Any) -> st.SearchStrategy[Any]:
    """Usually a good value, sometimes any."""
    return st.just(good) | st.just(good) | st.just(good) | ANYTHING


def well_said(error: ItrDeployError) -> bool:
    """Whether an error's message is a line that can be read."""
    said = str(error)
    return bool(said.strip()) and "\n" not in said and "Traceback" not in said and len(said) < 1500


def all_finite(found: Any) -> bool:
    """Whether the numbers of a result are."""
    values = np.asarray(found)
    return values.dtype.kind != "f" or bool(np.isfinite(values).all())
