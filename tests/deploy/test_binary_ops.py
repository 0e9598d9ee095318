"""The bodies of the operators on binary codes, in ONNX Runtime, against the form in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from running import run

from dtc.deploy.ops import DOMAIN, operators, require_operator
from dtc.deploy.ops.binary.blocks import blocks_of_rows, in_blocks
from dtc.forms import BinaryCode
from dtc.forms.binary import pack_bits
from dtc.graph.builder import FunctionBuilder


def one_node(op_type: str, opset: int, feeds: dict[str, np.ndarray], attributes: dict[str, int]) -> Any:
    """Run one node of the domain whose inputs are all fed: nothing is known when the session is made."""
    inputs = [
        ir.Value(
            name=name, type=ir.TensorType(ir.DataType.from_numpy(array.dtype)), shape=ir.Shape([None] * array.ndim)
        )
        for name, array in feeds.items()
    ]
    node = ir.node(op_type, inputs, attributes, domain=DOMAIN, name="node")
    output = node.outputs[0]
    output.name, output.type = (
        "out",
        ir.TensorType(ir.DataType.UINT8 if op_type == "BinaryUnmask" else ir.DataType.FLOAT),
    )
    output.shape = ir.Shape([None] * (2 if op_type == "BinaryDequantize" else 3))
    graph = ir.Graph(inputs, [output], nodes=[node], opset_imports={"": opset}, name="g")
    model = ir.Model(graph, ir_version=10)
    require_operator(model, op_type)
    return run(model, feeds)[0]


def random_case(seed: int, bits: int, cols: int, group: int, masked: bool, offset: bool) -> tuple[BinaryCode, Any, Any]:
    rng = np.random.default_rng(seed)
    rows, groups = int(rng.choice([1, 5, 31, 32, 33, 70])), -(-cols // group) if group else 1
    dtype = np.float16 if seed % 2 else np.float32
    form = BinaryCode(
        pack_bits(rng.random((bits, rows, cols)) < 0.5),
        rng.random((bits, rows, groups)).astype(dtype),
        cols,
        group,
        rng.standard_normal((rows, groups)).astype(dtype) if offset else None,
        pack_bits(rng.random((rows, cols)) < 0.4) if masked else None,
    )
    codes = form.codes if form.mask is None else np.concatenate([form.codes, form.mask[None]])
    alphas = form.alphas if form.offset is None else np.concatenate([form.alphas, form.offset[None]])
    return form, codes, alphas


def attributes(form: BinaryCode) -> dict[str, int]:
    return {"bits": form.bits, "in_features": form.cols, "group_size": form.group_size or 8 * form.codes.shape[2]}


def assert_decoded(found: Any, wanted: Any, alphas: Any) -> None:
    """The same levels, but for the order that ONNX Runtime adds up to nine numbers in: of one row it is another."""
    assert found.dtype == wanted.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6 * np.abs(alphas.astype(np.float32)).sum(axis=0).max())


cases = st.builds(
    random_case,
    st.integers(0, 1000),
    st.integers(1, 7),
    st.integers(1, 50),
    st.sampled_from([0, 8, 24]),
    st.booleans(),
    st.booleans(),
)


@settings(max_examples=40, deadline=None)
@given(cases, st.sampled_from([12, 13, 18, 21]))
def test_dequantize_gives_the_dense_weight(case: Any, opset: int):
    form, codes, alphas = case
    found = one_node("BinaryDequantize", opset, {"codes": codes, "alphas": alphas}, attributes(form))
    assert_decoded(found, form.dense(), alphas)


def test_dequantize_of_eight_planes():
    form, codes, alphas = random_case(0, 8, 33, 8, masked=False, offset=True)
    found = one_node("BinaryDequantize", 17, {"codes": codes, "alphas": alphas}, attributes(form))
    assert_decoded(found, form.dense(), alphas)


@settings(max_examples=15, deadline=None)
@given(cases)
def test_matmul_is_the_product_with_the_dense_weight(case: Any):
    form, codes, alphas = case
    x = np.random.default_rng(0).standard_normal((2, 3, form.cols)).astype(np.float32)
    feeds = {"x": x, "codes": in_blocks(codes), "alphas": alphas.transpose(0, 2, 1).copy()}
    found = one_node("BinaryMatMul", 13, feeds, attributes(form))
    np.testing.assert_allclose(found, x @ form.dense().T, rtol=0, atol=1e-4)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 3), st.integers(1, 100), st.integers(1, 9))
def test_nodes_bring_rows_into_blocks(planes: int, out: int, width: int):
    codes = np.random.default_rng(out).integers(0, 256, (planes, out, width), dtype=np.uint8)
    body = FunctionBuilder(DOMAIN, ["codes"], 13)
    graph = body.close("Blocks", blocks_of_rows(body, body.inputs["codes"])).graph
    for value, rank in ((graph.inputs[0], 3), (graph.outputs[0], 2)):
        value.type, value.shape = ir.TensorType(ir.DataType.UINT8), ir.Shape([None] * rank)
    found = run(ir.Model(graph, ir_version=10), {"codes": codes})[0]
    assert found.tobytes() == in_blocks(codes).tobytes()


@settings(max_examples=15, deadline=None)
@given(cases, st.sampled_from([np.int32, np.int64]))
def test_gather_gives_rows_of_the_dense_weight(case: Any, dtype: Any):
    form, codes, alphas = case
    rows = form.shape[0]
    indices = np.random.default_rng(1).integers(-rows, rows, (2, 4)).astype(dtype)
    found = one_node("BinaryGather", 14, {"indices": indices, "codes": codes, "alphas": alphas}, attributes(form))
    assert_decoded(found, form.dense()[indices], alphas)


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.7])
def test_unmask_puts_the_codes_of_survivors_at_their_places(kept: float):
    rng = np.random.default_rng(0)
    mask = rng.random((6, 21)) < kept
    signs = (rng.random((3, 6, 21)) < 0.5) & mask
    survivors = np.pad(pack_bits(signs[:, mask]), ((0, 0), (0, 1)))
    planes = one_node("BinaryUnmask", 13, {"survivors": survivors, "mask": pack_bits(mask)}, {})
    assert planes.shape == (4, 6, 3)
    found = np.unpackbits(planes, axis=-1, count=21, bitorder="little").astype(bool)
    assert (found[:3][:, mask] == signs[:, mask]).all()
    assert (found[3] == mask).all()


def test_every_operator_documents_its_signature():
    for name in ("BinaryMatMul", "BinaryGather", "BinaryDequantize", "BinaryUnmask"):
        operator = operators()[name]
        function = operator.function()
        assert function.name == name
        assert [value.name for value in function.inputs] == list(operator.inputs)
        assert set(function.attributes) == set(operator.attributes)
        assert operator.doc


def test_a_model_older_than_a_body_is_refused():
    graph = ir.Graph([], [], nodes=[], opset_imports={"": 11}, name="g")
    with pytest.raises(ValueError, match="needs opset 12, the model has 11"):
        require_operator(ir.Model(graph, ir_version=10), "BinaryMatMul")
