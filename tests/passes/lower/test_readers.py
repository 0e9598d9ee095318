"""Every operator that reads a weight, in every form: the lowered file computes what the forms say, exactly.

Tolerance: 2e-6 of the largest output where the weight is decoded, and 1e-4 where a product is done in another order.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from running import assign_dense, eager, random_feeds, relative_error, run

from dtc.graph import find_sites, save_model
from dtc.passes.lower import lower
from dtc.passes.plan import make_plan
from dtc.recipe import Rule
from dtc.session import runner, session

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
    return built(*READERS[reader])


def built(text: str, shapes: dict[str, tuple[int, ...]]) -> ir.Model:
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


def error_of(model: ir.Model, method: str, mode: str) -> float:
    """Lower what a method makes of all sites; return the worst error against the dense weights of the forms."""
    plan = make_plan(model, [Rule(method=method, options=METHODS[method])])
    distorted = plan.distort()
    items = plan.compressed(distorted.forms)
    assert "w" in distorted.forms, distorted.skipped
    assign_dense(items)
    feeds = random_feeds(model)
    expected = run(model, feeds)
    lower(model, items, eager(mode))
    assert not {item.site.name for item in items} & set(model.graph.initializers)
    return max(relative_error(f, e) for f, e in zip(run(model, feeds), expected, strict=True))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("reader", READERS)
def test_every_reader_computes_with_exactly_the_form(reader: str, method: str) -> None:
    others = ("standard", "storage")
    for mode in ("compute", others[(len(reader) + len(method)) % 2]):
        exact = "svd" not in method and mode != "compute"
        assert error_of(model_of(reader), method, mode) <= (2e-6 if exact else 1e-4)


ON_CODES = {
    "Gemm with both transposed": "MatMul",
    "MatMul on the left": "MatMul",
    "Einsum of heads": "MatMul",
    "Gather of columns": "Gather",
}


@pytest.mark.parametrize("method", ["prune", "binary", "codebook"])
@pytest.mark.parametrize("reader", ON_CODES)
def test_kernels_compute_what_the_functions_do(reader: str, method: str, tmp_path: Path) -> None:
    model, path = model_of(reader), tmp_path / "m.onnx"
    feeds = random_feeds(model)
    error_of(model, method, "compute")
    assert {node.op_type for node in model.graph if node.domain == "dtc" and node.op_type.endswith(ON_CODES[reader])}
    save_model(model, path)
    wanted, found = (runner(session(path, native=native))(feeds)["y"] for native in (False, True))
    np.testing.assert_allclose(found, wanted, atol=1e-3 * np.abs(wanted).max())


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_einsum_of_two_operands(data: st.DataObject) -> None:
    sizes = {"a": 2, "b": 3, "o": 6, "p": 4, "i": 8, "j": 3, "k": 2}
    batch = "k" * data.draw(st.integers(0, 1))
    out, into, rows = (data.draw(st.sampled_from(letters)) for letters in (("o", "op"), ("i", "ij"), ("", "a", "ab")))
    weight, other, output = (
        "".join(data.draw(st.permutations(list(letters))))
        for letters in (batch + out + into, batch + into + rows, batch + rows + out)
    )
    shapes = [",".join(str(sizes[letter]) for letter in term) for term in (other, weight, output)]
    first = data.draw(st.booleans())
    equation, operands = (f"{weight},{other}", "w, x") if first else (f"{other},{weight}", "x, w")
    text = (
        f"(float[{shapes[0]}] x, float[{shapes[1]}] w) => (float[{shapes[2]}] y) "
        f'{{ y = Einsum<equation="{equation}->{output}">({operands}) }}'
    )
    for method in ("svd", "binary"):
        assert error_of(built(text, {"w": tuple(sizes[letter] for letter in weight)}), method, "compute") <= 1e-4


@settings(max_examples=25, deadline=None)
@given(rank=st.integers(2, 4), axis=st.integers(-4, 3), ids=st.integers(0, 2))
def test_any_gather(rank: int, axis: int, ids: int) -> None:
    axis = axis % rank - rank * (axis < 0)
    table, index = [5, 4, 3, 4][:rank], [2, 3][:ids]
    table[axis] = 30
    result = [*table[: axis % rank], *index, *table[axis % rank + 1 :]]
    shapes = [f"[{','.join(map(str, shape))}]" if shape else "" for shape in (index, table, result)]
    text = f"(int64{shapes[0]} i, float{shapes[1]} w) => (float{shapes[2]} y) {{ y = Gather<axis={axis}>(w, i) }}"
    for method, mode in (("svd", "compute"), ("binary", "compute"), ("prune", "standard")):
        assert error_of(built(text, {"w": tuple(table)}), method, mode) <= 1e-4


def test_a_weight_read_whole_and_split_is_one_site() -> None:
    assert [site.name for site in find_sites(model_of("Split and whole"))] == ["w"]


@pytest.mark.parametrize("method", ["prune", "binary", "uniform", "prune+binary"])
def test_openvino_computes_the_weight_of_a_convolution_in_groups_when_it_loads(method: str) -> None:
    # It would put the scale of a BatchNormalization into the weight in front of a Reshape, which that does not fit.
    text = (
        "(float[1,16,8,8] x, float[16,2,3,3] w, float[16,1,1] s) => (float[1,16,6,6] y) "
        "{ c = Conv<group=8>(x, w) y = Mul(c, s) }"
    )
    model = built(text, {"w": (16, 2, 3, 3), "s": (16, 1, 1)})
    assert error_of(model, method, "standard") <= 2e-6
    written = {node.op_type for node in model.graph}
    assert not written & {"CumSum", "GatherElements", "ScatterElements", "ScatterND"}
