"""A decoder that is written by docs/formats.md reads the files that dtc writes.

The decoder is the page's own code blocks. What a file means is what ONNX Runtime computes with it, on the functions
that it carries: the product of a file with the unit matrix is its weight.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser
from pages import ROOT, blocks
from running import EAGER

import dtc

Arrays = dict[str, np.ndarray]

LARGE = (1021, 770)
"""Inputs and outputs for which operators pay; no multiples of 8 or 32, so that paddings count."""
SMALL = (53, 44)
TALL = (64, 1040)
"""Inputs and outputs of a weight that does not lie together with others."""

IN_OUT = "y = MatMul(x, W)"
LOOKED_UP = "y = Gather(W, x)"


@pytest.fixture(scope="module")
def page() -> Any:
    """The functions of the page."""
    names: dict[str, Any] = {}
    for block in blocks(ROOT / "docs" / "formats.md"):
        exec(compile(block.text, "docs/formats.md", "exec"), names)
    return SimpleNamespace(**{name: item for name, item in names.items() if callable(item)})


class Written:
    """A compressed file: its one interesting node, the initializers by what follows `W.` in their names."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.graph = onnx.load(path).graph
        stored = {each.name: each for each in self.graph.initializer}
        self.arrays: Arrays = {name.removeprefix("W."): _array(each) for name, each in stored.items()}

    def operator(self, op_type: str) -> tuple[dict[str, int], list[np.ndarray]]:
        """Return attributes and stored inputs of the node of that operator."""
        node = next(node for node in self.graph.node if (node.domain, node.op_type) == ("dtc", op_type))
        inputs = [self.arrays[name.removeprefix("W.")] for name in node.input if name.startswith("W.")]
        return {each.name: each.i for each in node.attribute}, inputs

    def scalars(self, op_type: str) -> np.float32:
        """Return the constant number that the only such node with floats reads."""
        constants = {
            node.output[0]: numpy_helper.to_array(node.attribute[0].t)
            for node in self.graph.node
            if node.op_type == "Constant"
        } | {each.name: numpy_helper.to_array(each) for each in self.graph.initializer}
        read = [
            constants[name]
            for node in self.graph.node
            if node.op_type == op_type
            for name in node.input
            if name in constants
        ]
        return next(number[()] for number in read if number.shape == () and number.dtype == np.float32)

    def matrix(self) -> np.ndarray:
        """Return the matrix `[out, in]` that ONNX Runtime computes with."""
        session = dtc.session(self.path, native=False)
        given = session.get_inputs()[0]
        if given.type == "tensor(int64)":
            rows = int(self.graph.output[0].type.tensor_type.shape.dim[0].dim_value)
            return session.run(None, {given.name: np.arange(rows)})[0]
        return session.run(None, {given.name: np.eye(given.shape[1], dtype=np.float32)})[0].T


def _array(tensor: onnx.TensorProto) -> np.ndarray:
    if tensor.data_type != onnx.TensorProto.INT2:
        return numpy_helper.to_array(tensor)
    return numpy_helper.to_array(tensor).astype(np.int8)


Compress = Callable[..., Written]


@pytest.fixture
def compress(tmp_path: Path) -> Compress:
    """Write a model of one node, compress it, and return the written file."""

    def run(
        method: str, shape: tuple[int, int], body: str = IN_OUT, lower: str = "compute", opset: int = 17, **options: Any
    ) -> Written:
        weight = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        source, output = tmp_path / "model.onnx", tmp_path / "small.onnx"
        x, y = (
            (f"float[N, {shape[0]}] x", f"float[N, {shape[1]}] y")
            if body == IN_OUT
            else (f"int64[{shape[0]}] x", f"float[{shape[0]}, {shape[1]}] y")
        )
        model = parser.parse_model(f'<ir_version: 10, opset_import: ["" : {opset}]> g ({x}) => ({y}) {{ {body} }}')
        model.graph.initializer.append(numpy_helper.from_array(weight, "W"))
        onnx.save(model, source)
        recipe = dtc.Recipe(rules=(dtc.Rule(method=method, options=options),), lower=lower, costs=eager_costs(tmp_path))
        dtc.compress(source, recipe, dtc.Job(output, force=True, seconds=0, allow_growth=True))
        return Written(output)

    return run


def eager_costs(folder: Path) -> str:
    """Return a file of costs by which an operator stands wherever one can."""
    path = folder / "costs.json"
    path.write_text(EAGER.model_dump_json())
    return str(path)


def assert_same(decoded: np.ndarray, written: Written) -> None:
    expected = written.matrix()
    assert decoded.shape == expected.shape
    assert np.count_nonzero(expected) > 0
    np.testing.assert_allclose(decoded, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("method", "options"),
    [("binary", {"bits": 2}), ("binary", {"bits": 3, "group_size": 64})],
)
def test_codes_of_a_product_are_in_blocks(page: Any, compress: Compress, method: str, options: Any) -> None:
    written = compress(method, LARGE, **options)
    given, (codes, alphas) = written.operator("BinaryMatMul")
    rows = page.rows_of_blocks(codes, alphas.shape[2])
    sizes = given["bits"], given["in_features"], given["group_size"]
    assert_same(page.binary(rows, alphas.transpose(0, 2, 1), *sizes), written)


@pytest.mark.parametrize("options", [{"bits": 3, "symmetric": False}, {"bits": 4, "group_size": 64}])
def test_scales_stand_for_the_coefficients_of_a_product(page: Any, compress: Compress, options: Any) -> None:
    written = compress("uniform", LARGE, **options)
    given, (codes,) = written.operator("BinaryMatMul")
    alphas = page.coefficients(written.arrays["scales"], given["bits"], written.arrays.get("zeros"))
    rows = page.rows_of_blocks(codes, alphas.shape[2])
    sizes = given["bits"], given["in_features"], given["group_size"]
    assert_same(page.binary(rows, alphas.transpose(0, 2, 1), *sizes), written)


@pytest.mark.parametrize("bits", [8, 4, 3])
@pytest.mark.parametrize("opset", [8, 17])
def test_evenly_spaced_levels_are_scaled_steps(page: Any, compress: Compress, bits: int, opset: int) -> None:
    written = compress("uniform", SMALL, lower="standard", bits=bits, opset=opset, symmetric=True)
    codes, scales = written.arrays["codes"], written.arrays["scales"]
    steps = codes if bits == 8 else page.numbers(codes.reshape(1, -1), bits, SMALL[0] * SMALL[1]) - 2.0 ** (bits - 1)
    assert scales.dtype == np.float16
    assert_same((steps.reshape(SMALL) * scales.astype(np.float32)).T, written)


def test_evenly_spaced_levels_in_groups(page: Any, compress: Compress) -> None:
    written = compress("uniform", (70, 44), lower="standard", bits=4, group_size=32, symmetric=False)
    levels = page.numbers(written.arrays["codes"], 4, 96 * 44).reshape(3, 32, 44)
    scales, zeros = written.arrays["scales"].astype(np.float32), written.arrays["zeros"].astype(np.float32)
    assert_same(((levels - 8 - zeros) * scales).reshape(96, 44)[:70].T, written)


def test_codes_of_an_embedding_are_in_rows(page: Any, compress: Compress) -> None:
    written = compress("binary", SMALL, LOOKED_UP, bits=3, group_size=8)
    given, (codes, alphas) = written.operator("BinaryGather")
    assert_same(page.binary(codes, alphas, given["bits"], given["in_features"], given["group_size"]), written)


@pytest.mark.parametrize("lower", ["compute", "standard"])
def test_signs_of_kept_weights_alone(page: Any, compress: Compress, lower: str) -> None:
    written = compress("prune+binary", SMALL, LOOKED_UP, lower, sparsity=0.8, bits=2)
    codes = page.unmask(written.arrays["survivors"], written.arrays["mask"], SMALL[1])
    assert_same(page.binary(codes, written.arrays["alphas"], 2, SMALL[1], 48), written)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_codes_of_rows_together(page: Any, compress: Compress, bits: int) -> None:
    written = compress("binary", (45, 27), LOOKED_UP, lower="standard", bits=bits)
    code = page.unpack_indices(written.arrays["codes"], bits, 27)
    assert_same(page.binary(_planes(code, bits), written.arrays["alphas"], bits, 27, 32), written)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_codes_of_a_weight_together(page: Any, compress: Compress, bits: int) -> None:
    shape = (251, 270)
    written = compress("binary", shape, lower="standard", bits=bits)
    code = page.codes_together(written.arrays["codes"], bits, *shape).T  # [out, in]
    assert_same(page.binary(_planes(code, bits), written.arrays["alphas"], bits, shape[0], 256), written)


def test_codes_of_other_widths_are_in_planes(page: Any, compress: Compress) -> None:
    written = compress("binary", TALL, lower="standard", bits=3)
    assert_same(page.binary(written.arrays["codes"], written.arrays["alphas"], 3, TALL[0], 64), written)


@pytest.mark.parametrize("bits", [2, 3])
def test_codes_of_a_small_weight(page: Any, compress: Compress, bits: int) -> None:
    written = compress("binary", SMALL, lower="standard", bits=bits)
    code = page.numbers(written.arrays["codes"], bits, SMALL[0] * SMALL[1]).reshape(SMALL[::-1])
    alphas = written.arrays["alphas"].transpose(2, 0, 1)
    assert_same(page.binary(_planes(code, bits), alphas, bits, SMALL[0], 56), written)


def _planes(code: np.ndarray, bits: int) -> np.ndarray:
    return np.stack([np.packbits(code >> plane & 1, axis=1, bitorder="little") for plane in range(bits)])


def test_int2_planes(compress: Compress) -> None:
    written = compress("binary", (64, 32), lower="int2", opset=25, bits=2)
    planes = [written.arrays[f"plane{i}"] * written.arrays[f"plane{i}.scale"] for i in range(2)]
    np.testing.assert_allclose((planes[0] + planes[1]).T, written.matrix(), atol=0.05)  # activations of 8 bits


@pytest.mark.parametrize(("shape", "body", "suffix"), [(LARGE, IN_OUT, "MatMul"), (SMALL, LOOKED_UP, "Gather")])
def test_bitmap(page: Any, compress: Compress, shape: tuple[int, int], body: str, suffix: str) -> None:
    written = compress("prune", shape, body, sparsity=0.8)
    given, (values, bits) = written.operator(f"Bitmap{suffix}")
    assert_same(page.bitmap(values, bits, given["cols"]), written)


@pytest.mark.parametrize("value_type", ["float32", "float16"])
def test_compressed_rows(page: Any, compress: Compress, value_type: str) -> None:
    written = compress("prune", LARGE, sparsity=0.98, value_type=value_type)
    given, arrays = written.operator("SparseMatMul")
    assert arrays[0].dtype == value_type
    assert_same(page.csr(*arrays, given["cols"]), written)


def test_the_example_of_compressed_rows(page: Any) -> None:
    found = page.csr(np.array([5, 6, 7]), np.array([1, 0, 2]), np.array([0, 1, 1, 3]), 3)
    np.testing.assert_array_equal(page.gaps(np.array([0, 5, 6, 7]), np.array([1, 5, 2, 0]), (3, 3)), found)
    assert found.tolist() == [[0, 5, 0], [0, 0, 0], [6, 0, 7]]


def test_gaps(page: Any, compress: Compress) -> None:
    written = compress("prune", TALL, lower="standard", sparsity=0.995)
    arrays = written.arrays
    assert 255 in arrays["gaps"]
    assert_same(page.gaps(arrays["values"], arrays["gaps"], TALL).T, written)


@pytest.mark.parametrize(("structure", "axis"), [("row", 0), ("column", 1)])
def test_whole_lines(page: Any, compress: Compress, structure: str, axis: int) -> None:
    written = compress("prune", SMALL, sparsity=0.5, structure=structure)
    arrays = written.arrays
    assert_same(page.lines(arrays["values"], arrays["kept"], axis, SMALL[::-1]), written)


def test_codebooks_of_a_product(page: Any, compress: Compress) -> None:
    written = compress("codebook", LARGE, codewords=16, block=8)
    given, (indices, *_) = written.operator("CodebookMatMul")
    blocks = -(-given["columns"] // 8)
    numbers = page.unpack_indices(indices, given["bits"], blocks)
    assert_same(page.codebook(numbers, written.arrays["codewords"].astype(np.float32), given["columns"]), written)


@pytest.mark.parametrize(("codewords", "bits"), [(2, 1), (8, 3), (60, 6), (300, 9)])
def test_indices_of_any_width(page: Any, compress: Compress, codewords: int, bits: int) -> None:
    written = compress("codebook", TALL, lower="standard", codewords=codewords, block=1, gradient_weight=0)
    numbers = page.unpack_indices(written.arrays["indices"], bits, 64)
    assert_same(page.codebook(numbers, written.arrays["codewords"].astype(np.float32), 64), written)


def test_rows_that_share_bytes(page: Any, compress: Compress) -> None:
    written = compress("codebook", (5, 14000), lower="standard", codewords=8, block=1, codeword_bits=32)
    assert written.arrays["indices"].shape[0] == 1
    numbers = page.unpack_indices(written.arrays["indices"], 3, 5 * 14000).reshape(14000, 5)
    assert_same(page.codebook(numbers, written.arrays["codewords"], 5), written)


def test_the_example_of_index_fields(page: Any) -> None:
    packed = np.array([[0b00111001, 0b00000101]], np.uint8)
    assert page.unpack_indices(packed, 3, 3).tolist() == [[5, 2, 7]]


def test_codewords_on_a_grid(page: Any, compress: Compress) -> None:
    written = compress("codebook", TALL, lower="standard", codewords=8, block=1, codeword_bits=4)
    levels = page.unpack_indices(written.arrays["codewords"], 4, 8)[0]
    step, low = written.scalars("Mul"), written.scalars("Add")
    table = (levels.astype(np.float32) * step + low).reshape(8, 1)
    numbers = page.unpack_indices(written.arrays["indices"], 3, 64)
    assert_same(page.codebook(numbers, table, 64), written)


def test_survivors_of_scalars(page: Any, compress: Compress) -> None:
    written = compress("prune+codebook", SMALL, lower="standard", sparsity=0.8, codewords=8, block=1)
    mask, table = written.arrays["mask_0"], written.arrays["codewords"].astype(np.float32)
    count = int(page.unpack_bits(mask, SMALL[0]).sum())
    numbers = page.unpack_indices(written.arrays["indices_0"], 3, count)[0]
    assert_same(page.spread(table[numbers, 0], mask, SMALL[0]), written)


def test_huffman_coded_indices(page: Any, compress: Compress) -> None:
    written = compress("codebook", (400, 300), lower="standard", codewords=48, block=1, huffman=True)
    parts = [written.arrays[f"indices_0.{name}"] for name in ("order", "lengths", "starts", "stream")]
    numbers = page.huffman(*parts, 300 * 400).reshape(300, 400)
    assert_same(page.codebook(numbers, written.arrays["codewords"].astype(np.float32), 400), written)


def test_a_table_that_two_weights_share(page: Any, tmp_path: Path) -> None:
    source, output = tmp_path / "model.onnx", tmp_path / "small.onnx"
    rng = np.random.default_rng(0)
    weights = {"W": rng.standard_normal((64, 96)), "V": 3 * rng.standard_normal((96, 64))}
    body = "h = MatMul(x, W) y = MatMul(h, V)"
    model = parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : 17]> g (float[N, 64] x) => (float[N, 64] y) {{ {body} }}'
    )
    model.graph.initializer.extend(numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items())
    onnx.save(model, source)
    rule = dtc.Rule(method="codebook", options={"codewords": 16, "block": 1, "share": True})
    dtc.compress(source, dtc.Recipe(rules=(rule,), lower="standard"), dtc.Job(output, seconds=0, allow_growth=True))
    stored = {each.name: numpy_helper.to_array(each) for each in onnx.load(output).graph.initializer}
    table = next(array for name, array in stored.items() if name.endswith(".values")).astype(np.float32)
    indices = page.numbers(stored["joint.indices"], 4, 2 * 64 * 96)
    parts = zip((indices[: 64 * 96], indices[64 * 96 :]), stored["joint.gain"], ((64, 96), (96, 64)), strict=True)
    first, second = ((table[numbers, 0] * gain).reshape(shape) for numbers, gain, shape in parts)
    unit = dtc.session(output, native=False).run(None, {"x": np.eye(64, dtype=np.float32)})[0]
    np.testing.assert_allclose(first @ second, unit, atol=1e-4)


def test_blocks_with_a_mask(page: Any, compress: Compress) -> None:
    written = compress("prune+codebook", (64, 96), lower="standard", sparsity=0.5, codewords=16, block=4)
    numbers = page.unpack_indices(written.arrays["indices"], 4, 16)
    dense = page.codebook(numbers, written.arrays["codewords"].astype(np.float32), 64)
    assert_same(np.where(page.unpack_bits(written.arrays["mask_0"], 64), dense, 0), written)


def test_an_index_for_zero(page: Any, compress: Compress) -> None:
    written = compress("prune+codebook", TALL, lower="standard", sparsity=0.5, structure="row", codewords=15, block=4)
    assert "mask_0" not in written.arrays
    table = written.arrays["codewords"].astype(np.float32)
    table = np.concatenate([np.zeros((1, 4), np.float32), table])
    assert_same(page.codebook(page.unpack_indices(written.arrays["indices"], 4, 16), table, 64), written)


def test_terms_of_a_sum(page: Any, compress: Compress) -> None:
    written = compress("prune+svd", (96, 80), lower="standard", sparsity=0.95, rank=4)
    arrays = written.arrays
    first = page.gaps(arrays["first.values"], arrays["first.gaps"], (96, 80)).T
    assert_same(first + (arrays["second.right"] @ arrays["second.left"]).T, written)


def test_factors(compress: Compress) -> None:
    written = compress("svd", SMALL, rank=5)
    assert_same((written.arrays["right"] @ written.arrays["left"]).T, written)


def test_coded_factors(page: Any, compress: Compress) -> None:
    written = compress("svd+binary", (96, 80), LOOKED_UP, lower="standard", rank=16, bits=3)
    left = page.binary(written.arrays["left.codes"], written.arrays["left.alphas"], 3, 16, 16)
    code = page.numbers(written.arrays["right.codes"], 3, 80 * 16).reshape(80, 16)
    right = page.binary(_planes(code, 3), written.arrays["right.alphas"].transpose(2, 0, 1), 3, 16, 16)
    expected = written.matrix()
    np.testing.assert_allclose(left @ right.T, expected, atol=1e-5 * np.abs(expected).max())


STEPS, SIZE, HIDDEN = 3, 200, 256


@pytest.mark.parametrize(
    ("cell", "methods", "operator"),
    [
        ("LSTM", (("binary", {"bits": 2}), ("prune", {"sparsity": 0.9})), "LSTM_binary_sparse"),
        ("GRU", (("prune", {"sparsity": 0.85}), ("codebook", {"codewords": 16, "block": 8})), "GRU_bitmap_codebook"),
        ("LSTM", (("binary", {"bits": 1}), ("svd", {"rank": 16})), "LSTM_binary_low_rank"),
    ],
)
def test_weights_of_recurrent_operators(
    page: Any, tmp_path: Path, cell: str, methods: tuple[tuple[str, dict[str, Any]], ...], operator: str
) -> None:
    source, output, dense = (tmp_path / name for name in ("model.onnx", "small.onnx", "dense.onnx"))
    rng, rows = np.random.default_rng(0), {"LSTM": 4, "GRU": 3}[cell] * HIDDEN
    w, r = (rng.standard_normal((1, rows, n)).astype(np.float32) / 16 for n in (SIZE, HIDDEN))
    _save_recurrent(source, cell, w, r)
    rules = [dtc.Rule(method=m, options=o, include=(site,)) for site, (m, o) in zip("WR", methods, strict=True)]
    recipe = dtc.Recipe(rules=tuple(rules), costs=eager_costs(tmp_path))
    dtc.compress(source, recipe, dtc.Job(output, seconds=0, allow_growth=True))

    graph = onnx.load(output).graph
    node = next(node for node in graph.node if node.domain == "dtc")
    assert node.op_type == operator
    given = {each.name: each.i for each in node.attribute}
    produced = {name: _made(graph, name) for name in node.input if name}
    plain = {"LSTM": 6, "GRU": 4}[cell]
    _, w_form, r_form = operator.split("_", 2)  # a form may hold an underscore, and only the second one here does
    arrays = [produced[name] for name in node.input[plain:]]
    count = {"binary": 2, "bitmap": 2}[w_form]
    w = _weight(page, w_form, arrays[:count], (rows, SIZE), {k[2:]: v for k, v in given.items() if k.startswith("w_")})
    r = _weight(
        page, r_form, arrays[count:], (rows, HIDDEN), {k[2:]: v for k, v in given.items() if k.startswith("r_")}
    )
    _save_recurrent(dense, cell, w[None], r[None])
    x = rng.standard_normal((STEPS, 1, SIZE)).astype(np.float32)
    expected, found = (dtc.session(path, native=False).run(None, {"x": x})[0] for path in (dense, output))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def _weight(
    page: Any, form: str, arrays: list[np.ndarray], shape: tuple[int, int], sizes: dict[str, int]
) -> np.ndarray:
    """Decode a weight of one direction."""
    rows, cols = shape
    match form:
        case "binary":
            codes, alphas = page.rows_of_blocks(arrays[0][0], rows), arrays[1][0].transpose(0, 2, 1)
            return page.binary(codes, alphas, sizes["bits"], cols, sizes["group_size"])
        case "sparse":
            return page.csr(*arrays, cols)
        case "bitmap":
            return page.bitmap(*arrays, cols)
        case "codebook":
            indices = page.unpack_indices(arrays[0], sizes["bits"], -(-cols // arrays[1].shape[1]))
            return page.codebook(indices, arrays[1].astype(np.float32), cols)
    left, right = arrays
    return (left @ right)[0]


def _made(graph: onnx.GraphProto, name: str) -> np.ndarray:
    """Return an initializer, or what a Cast makes of one."""
    stored = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    if name in stored:
        return stored[name]
    maker = next((node for node in graph.node if name in node.output and node.op_type == "Cast"), None)
    return np.zeros(0) if maker is None else stored[maker.input[0]].astype(np.float32)


def _save_recurrent(path: Path, cell: str, w: np.ndarray, r: np.ndarray) -> None:
    x, y = f"float[{STEPS}, 1, {SIZE}] x", f"float[{STEPS}, 1, 1, {HIDDEN}] y"
    body = f"y = {cell} <hidden_size = {HIDDEN}> (x, W, R)"
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["" : 17]> g ({x}) => ({y}) {{ {body} }}')
    model.graph.initializer.extend([numpy_helper.from_array(w, "W"), numpy_helper.from_array(r, "R")])
    onnx.save(model, path)
