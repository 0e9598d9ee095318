"""The bodies of the recurrent operators, in ONNX Runtime, against its own LSTM and GRU on the dense weights.

Tolerance: 1e-5 of the largest output (max norm). Both run the same node; weights that are decoded by a product may
differ in their last bits.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recurrent_graphs import Options
from recurrent_weights import pair
from running import relative_error, run

from dtc.deploy.ops import operators
from dtc.deploy.ops.recurrent.operators import OPS, forms_of

NAMES = [op.name for op in OPS]


def options(cell: str) -> st.SearchStrategy[Options]:
    return st.builds(
        Options,
        op=st.just(cell),
        direction=st.sampled_from(["forward", "reverse", "bidirectional"]),
        steps=st.integers(1, 5),
        batch=st.integers(1, 3),
        inputs=st.integers(1, 20),
        hidden=st.integers(1, 20),
        bias=st.booleans(),
        lengths=st.booleans(),
        states=st.booleans(),
        peepholes=st.booleans(),
        clip=st.sampled_from([None, None, 0.7]),
        linear_before_reset=st.sampled_from([0, 1] if cell == "GRU" else [0]),
        outputs=st.tuples(st.booleans(), st.booleans(), st.booleans()).filter(lambda used: any(used[:2])),
        opset=st.sampled_from([12, 13, 14, 17, 21]),
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_body_is_the_node_on_the_dense_weights(name: str) -> None:
    cell, w, r = forms_of(name)

    @settings(max_examples=4, deadline=None, derandomize=True)
    @given(options(cell), st.integers(0, 1000))
    def check(o: Options, seed: int) -> None:
        standard, coded, feeds = pair(o, w, r, seed)
        for found, expected in zip(run(coded, feeds), run(standard, feeds), strict=True):
            assert relative_error(found, expected) <= 1e-5

    check()


@pytest.mark.parametrize("name", NAMES)
def test_an_operator_documents_its_signature(name: str) -> None:
    operator = operators()[name]
    function = operator.function()
    assert function.name == name
    assert [value.name for value in function.inputs] == list(operator.inputs)
    assert set(function.attributes) == set(operator.attributes)
    assert operator.doc
