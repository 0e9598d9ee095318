"""Every operator that reads a weight, in every form: the lowered file computes what the forms say, exactly.

Tolerance: 2e-6 of the largest output where the weight is decoded, and 1e-4 where a product is done in another order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from running import assign_dense, eager, random_feeds, relative_error, run

from dtc.graph import find_sites
from dtc.passes.lower import lower
from dtc.passes.plan import make_plan
from dtc.recipe import Rule

METHODS: dict[str, dict[str, Any]] = {
    "svd": {"rank": 3},
    "prune": {"sparsity": 0.7},
    "binary": {"bits": 2},
    "uniform": {"bits": 4},
    "codebook": {"codewords": 8, "block": 1, "gradient_weight": 0},
    "prune+binary": {"sparsity": 0.8, "bits": 1},
    "svd+uniform": {"rank": 3, "bits": 6},
    "prune+svd": {"sparsity": 0.9, "rank": 2},
}

# Inputs and outputs of a graph and its nodes, and the shapes of the weights. Input `w` is the weight.
READERS: dict[str, tuple[str, dict[str, tuple[int, ...]]]] = {
    "Gemm with the weight as A": (
        "(float[20,5] x, float[24,20] w, float[24,5] c) => (float[24,5] y) { y = Gemm<alpha=0.5, beta=2.0>(w, x, c) }",
        {"w": (24, 20)},
    ),
    "Gemm with both transposed": (
        "(float[5,20] x, float[20,24] w) => (float[24,5] y) { y = Gemm<transA=1, transB=1>(w, x) }",
        {"w": (20, 24)},
    ),
    "MatMul on the left": (
        "(float[2,20,5] x, float[24,20] w) => (float[2,24,5] y) { y = MatMul(w, x) }",
        {"w": (24, 20)},
    ),
    "MatMul with a vector": ("(float[20] x, float[24,20] w) => (float[24] y) { y = MatMul(w, x) }", {"w": (24, 20)}),
    "Einsum": (
        '(float[5,20] x, float[20,24] w) => (float[5,24] y) { y = Einsum<equation="bi,io->bo">(x, w) }',
        {"w": (20, 24)},
    ),
    "Einsum on the left": (
        '(float[2,5,20] x, float[24,20] w) => (float[2,24,5] y) { y = Einsum<equation="oi,bni->bon">(w, x) }',
        {"w": (24, 20)},
    ),
    "Einsum with an ellipsis": (
        '(float[2,5,20] x, float[20,24] w) => (float[2,5,24] y) { y = Einsum<equation="...i,io->...o">(x, w) }',
        {"w": (20, 24)},
    ),
    "Einsum of heads": (
        '(float[2,5,20] x, float[20,4,6] w) => (float[2,4,5,6] y) { y = Einsum<equation="bti,ihd->bhtd">(x, w) }',
        {"w": (20, 4, 6)},
    ),
    "Einsum over heads": (
        '(float[2,4,5,6] x, float[4,20,6] w) => (float[2,20,5] y) { y = Einsum<equation="bhtd,hod">(x, w) }',
        {"w": (4, 20, 6)},
    ),
    "Einsum of a stack": (
        '(float[5,4,12] x, float[4,12,24] w) => (float[5,4,24] y) { y = Einsum<equation="bhi,hio->bho">(x, w) }',
        {"w": (4, 12, 24)},
    ),
    "Einsum of three": (
        ("(float[5,20] x, float[5,6] z, float[24,20,6] w) => (float[5,24] y)"
        ' { y = Einsum<equation="bi,oij,bj->bo">(x, w, z) }'),
        {"w": (24, 20, 6)},
    ),
    "ConvTranspose 1-D": (
        ("(float[2,12,7] x, float[12,8,4] w, float[8] b) => (float[2,8,n] y)"
        " { y = ConvTranspose<strides=[2], pads=[1,1]>(x, w, b) }"),
        {"w": (12, 8, 4)},
    ),
    "ConvTranspose in groups": (
        ("(float[2,12,5,4] x, float[12,6,3,3] w, float[12] b) => (float[2,12,h,v] y)"
        " { y = ConvTranspose<group=2, strides=[2,1], output_padding=[1,0], dilations=[1,2]>(x, w, b) }"),
        {"w": (12, 6, 3, 3)},
    ),
    "ConvTranspose 3-D": (
        "(float[1,8,3,3,2] x, float[8,8,2,2,2] w) => (float[1,8,a,b,c] y) { y = ConvTranspose<strides=[2,2,2]>(x, w) }",
        {"w": (8, 8, 2, 2, 2)},
    ),
    "DeformConv": (
        ("(float[1,4,6,6] x, float[8,2,3,3] w, float[1,18,4,4] o, float[8] b, float[1,9,4,4] m) => (float[1,8,4,4] y)"
        " { y = DeformConv<group=2, kernel_shape=[3,3]>(x, w, o, b, m) }"),
        {"w": (8, 2, 3, 3)},
    ),
    "RNN": (
        ("(float[5,2,12] x, float[1,16,12] w, float[1,16,16] r, float[1,32] b) => (float[5,1,2,16] y, float[1,2,16] h)"
        " { y, h = RNN<hidden_size=16, clip=0.5>(x, w, r, b) }"),
        {"w": (1, 16, 12), "r": (1, 16, 16), "b": (1, 32)},
    ),
    "RNN both ways": (
        ("(float[5,2,12] x, float[2,16,12] w, float[2,16,16] r, float[2,2,16] s) => (float[5,2,2,16] y) {"
        ' y = RNN<hidden_size=16, direction="bidirectional", activations=["Relu", "Tanh"]>(x, w, r, , , s) }'),
        {"w": (2, 16, 12), "r": (2, 16, 16)},
    ),
    "Gather of a stack": (
        "(int64[2,3] ids, float[30,4,6] w) => (float[2,3,4,6] y) { y = Gather(w, ids) }",
        {"w": (30, 4, 6)},
    ),
    "Gather of columns": (
        "(int64[2,3] ids, float[24,20] w) => (float[24,2,3] y) { y = Gather<axis=1>(w, ids) }",
        {"w": (24, 20)},
    ),
    "Gather along a negative axis": (
        "(int64 ids, float[4,20,6] w) => (float[4,6] y) { y = Gather<axis=-2>(w, ids) }",
        {"w": (4, 20, 6)},
    ),
    "Split": (
        ("(float[5,20] x, int64[3] sizes, float[20,48] w) => (float[5,16] q, float[5,20] k, float[5,12] v) {"
        " a, b, c = Split<axis=1>(w, sizes) q = MatMul(x, a) k = MatMul(x, b) v = MatMul(x, c) }"),
        {"w": (20, 48)},
    ),
    "Split and whole": (
        ("(float[5,20] x, float[20,48] w) => (float[5,24] y, float[5,48] z) {"
        " t = Transpose(w) a, b = Split<num_outputs=2>(t) s = Transpose(b) y = MatMul(x, s) z = MatMul(x, w) }"),
        {"w": (20, 48)},
    ),
}  # fmt: skip


def model_of(reader: str) -> ir.Model:
    """Return the graph of a reader, its weights random."""
    text, shapes = READERS[reader]
    model = ir.from_onnx_text(f'<ir_version: 9, opset_import: ["": 19]> g {text}')
    rng = np.random.default_rng(3)
    arrays: dict[str, np.ndarray] = {
        name: (rng.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32) for name, shape in shapes.items()
    }
    arrays["sizes"] = np.array([16, 20, 12])
    for standing in [value for value in model.graph.inputs if value.name in arrays]:
        name = str(standing.name)
        stored = ir.tensor(arrays[name], name=name)
        value = ir.Value(name=name, const_value=stored, shape=standing.shape, type=standing.type)
        standing.replace_all_uses_with(value)
        model.graph.inputs.remove(standing)
        model.graph.register_initializer(value)
    return model


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("reader", READERS)
def test_every_reader_computes_with_exactly_the_form(reader: str, method: str) -> None:
    feeds, others = random_feeds(model_of(reader)), ("standard", "storage")
    for mode in ("compute", others[(len(reader) + len(method)) % 2]):
        model = model_of(reader)
        plan = make_plan(model, [Rule(method=method, options=METHODS[method])])
        distorted = plan.distort()
        items = plan.compressed(distorted.forms)
        assert "w" in distorted.forms, distorted.skipped
        assign_dense(items)
        expected = run(model, feeds)
        lower(model, items, eager(mode))
        assert not {item.site.name for item in items} & set(model.graph.initializers)
        worst = max(relative_error(f, e) for f, e in zip(run(model, feeds), expected, strict=True))
        assert worst <= (1e-4 if "svd" in method or mode == "compute" else 2e-6)


def test_nothing_else_is_a_site() -> None:
    assert [site.name for site in find_sites(model_of("Split and whole"))] == ["w"]
