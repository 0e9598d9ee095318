"""Codebooks in the graph compute what the dense distorted weights compute, in ONNX Runtime."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from running import eager

from dtc.forms import Codebook, Codewords, stored_bytes
from dtc.forms.huffman import NODES, SEGMENT
from dtc.graph import find_sites, load_model, save_model
from dtc.passes.lower import Compressed, lower
from dtc.passes.lower.codebook import KIND, coded_together
from dtc.passes.lower.codebook import indices as codebook_indices
from dtc.passes.method import Skip, make_method
from dtc.passes.plan import make_plan
from dtc.recipe import Rule

MODES = ["compute", "standard", "storage"]


def session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def outputs(model: ir.Model, path: Path, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    save_model(model, path, force=True)
    onnx.checker.check_model(str(path), full_check=True)
    return session(path).run(None, feeds)


def form(
    rows: int,
    cols: int,
    count: int,
    block: int,
    *,
    bits: int = 32,
    masked: bool = False,
    zero: bool = False,
    huffman: bool = False,
    seed: int = 0,
) -> Codebook:
    rng = np.random.default_rng(seed)
    words = Codewords.encode(rng.normal(size=(count, block)).astype(np.float32), bits)
    indices = rng.integers(0, count + zero, (rows, -(-cols // block))).astype(np.uint16)
    mask = rng.random((rows, cols)) < 0.4 if masked else None
    if masked and block == 1:
        indices = np.where(mask, indices, 0).astype(np.uint16)
    return Codebook(indices, words, cols, np.float32(1.5) if zero else None, zero, mask, huffman=huffman)


def value(name: str, *shape: int | str, dtype: ir.DataType = ir.DataType.FLOAT) -> ir.Value:
    return ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(dtype))


def constant(name: str, array: np.ndarray) -> ir.Value:
    tensor = ir.tensor(array, name=name)
    return ir.Value(name=name, const_value=tensor, type=ir.TensorType(tensor.dtype), shape=tensor.shape)


RANKS = {"MatMul": 2, "Gemm": 2, "Conv": 4, "LSTM": 4, "GRU": 4, "Gather": 3}


def one_node(op: str, inputs: list[ir.Value], weights: list[ir.Value], outs: int = 1, **attributes: object) -> ir.Model:
    node = ir.node(op, inputs, attributes or None, num_outputs=outs, name="reader")  # type: ignore[arg-type]
    node.outputs[0].name = "y"
    node.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    node.outputs[0].shape = ir.Shape([None] * RANKS[op])
    free = [v for v in inputs if v is not None and v not in weights]
    graph = ir.Graph(free, [node.outputs[0]], nodes=[node], initializers=weights, opset_imports={"": 17}, name="g")
    return ir.Model(graph, ir_version=8)


def zeros(name: str, *shape: int) -> ir.Value:
    return constant(name, np.full(shape, 7, np.float32))


def reader(role: str) -> tuple[ir.Model, dict[str, np.ndarray]]:
    """A model of one reader, whose weight has matrices of 24 x 30 (Conv: 24 x 2 * 15, LSTM: 2 x 24 x 30)."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(5, 30)).astype(np.float32)
    match role:
        case "MatMul":
            weight = zeros("w", 30, 24)
            return one_node("MatMul", [value("x", "n", 30), weight], [weight]), {"x": x}
        case "Gemm":
            weight, bias = zeros("w", 30, 24), zeros("b", 24)
            gemm = one_node("Gemm", [value("x", "n", 30), weight, bias], [weight, bias], alpha=0.5, beta=2.0)
            return gemm, {"x": x}
        case "Gemm transposed":
            weight = zeros("w", 24, 30)
            return one_node("Gemm", [value("x", "n", 30), weight], [weight], transB=1), {"x": x}
        case "Conv":
            weight = zeros("w", 24, 2, 3, 5)
            image = rng.normal(size=(1, 2, 8, 9)).astype(np.float32)
            return one_node("Conv", [value("x", 1, 2, 8, 9), weight], [weight]), {"x": image}
        case "LSTM":
            w, r = zeros("w", 2, 24, 30), constant("r", rng.normal(size=(2, 24, 6)).astype(np.float32))
            steps = rng.normal(size=(4, 1, 30)).astype(np.float32)
            lstm = one_node("LSTM", [value("x", 4, 1, 30), w, r], [w, r], hidden_size=6, direction="bidirectional")
            return lstm, {"x": steps}
        case "GRU":
            w, r = zeros("w", 1, 24, 30), constant("r", rng.normal(size=(1, 24, 8)).astype(np.float32))
            steps = rng.normal(size=(4, 1, 30)).astype(np.float32)
            return one_node("GRU", [value("x", 4, 1, 30), w, r], [w, r], hidden_size=8), {"x": steps}
        case "Gather":
            weight = zeros("w", 24, 30)
            ids = value("x", 2, 3, dtype=ir.DataType.INT64)
            return one_node("Gather", [weight, ids], [weight]), {"x": np.array([[0, 23, -1], [5, 5, 11]])}
        case _:
            raise AssertionError(role)


ROLES = ["MatMul", "Gemm", "Gemm transposed", "Conv", "LSTM", "GRU", "Gather"]


def check(role: str, make: object, mode: str, folder: Path) -> ir.Model:
    model, feeds = reader(role)
    dense, _ = reader(role)
    site = next(s for s in find_sites(model) if s.name == "w")
    forms = tuple(make(seed) for seed in range(site.view.count))  # type: ignore[operator]
    forms = tuple(replace(f, codewords=forms[0].codewords) for f in forms)
    target = next(s for s in find_sites(dense) if s.name == "w")
    target.assign(target.restore(np.stack([f.dense() for f in forms])))
    lower(model, [Compressed(site, forms)], eager(mode))
    assert "w" not in model.graph.initializers
    expected = outputs(dense, folder / "dense.onnx", feeds)
    found = outputs(model, folder / "lowered.onnx", feeds)
    np.testing.assert_allclose(found[0], expected[0], rtol=2e-6, atol=2e-6)
    return model


@pytest.mark.parametrize("mode", ["compute", "standard"])
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("count", "block"), [(16, 1), (256, 8), (11, 4), (40, 15)])
def test_every_role_computes_what_the_dense_weight_computes(
    role: str, count: int, block: int, mode: str, tmp_path: Path
) -> None:
    check(role, lambda seed: form(24, 30, count, block, seed=seed), mode, tmp_path)


@pytest.mark.parametrize("mode", ["compute", "standard"])
@pytest.mark.parametrize("count", [2, 3, 4, 7, 17, 33, 65, 128, 300, 700, 1500, 5000, 40000])
def test_every_width_of_index_is_decoded(count: int, mode: str, tmp_path: Path) -> None:
    for block, role in ((1, "Gemm transposed"), (1, "Gather"), (3, "MatMul")):
        check(role, lambda seed: form(24, 30, count, block, seed=seed), mode, tmp_path)  # noqa: B023


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 7, 8, 16])
def test_every_precision_of_codewords_is_decoded(bits: int, tmp_path: Path) -> None:
    check("Conv", lambda seed: form(24, 30, 20, 5, bits=bits, seed=seed), "compute", tmp_path)
    check("Gather", lambda seed: form(24, 30, 20, 5, bits=bits, zero=True, seed=seed), "standard", tmp_path)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("block", [1, 4])
def test_masked_and_zeroed_weights(role: str, block: int, mode: str, tmp_path: Path) -> None:
    check(role, lambda seed: form(24, 30, 9, block, masked=True, seed=seed), mode, tmp_path)
    check(role, lambda seed: form(24, 30, 9, block, zero=True, seed=seed), mode, tmp_path)


@pytest.fixture
def _coded_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have small sites Huffman coded, too."""
    for module in (codebook_indices, coded_together):
        monkeypatch.setattr(module, "NODES", -(1 << 20))


@pytest.mark.usefixtures("_coded_always")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("kind", ["plain", "masked", "zero"])
def test_huffman_coded_indices(role: str, kind: str, mode: str, tmp_path: Path) -> None:
    given = {"huffman": True, "masked": kind == "masked", "zero": kind == "zero"}
    for count, block in ((9, 1), (40, 4), (300, 2)):
        check(role, lambda seed: form(24, 30, count, block, seed=seed, **given), mode, tmp_path)  # noqa: B023


@pytest.mark.usefixtures("_coded_always")
@pytest.mark.parametrize("size", [SEGMENT - 1, SEGMENT, SEGMENT + 1, 3 * SEGMENT + 5])
def test_a_huffman_code_of_several_segments(size: int, tmp_path: Path) -> None:
    """Code words of 1 to 12 bits, decoded in ONNX Runtime."""
    counts = [2 ** max(12 - i, 0) for i in range(14)]
    symbols = np.random.default_rng(0).choice(14, size, p=np.array(counts) / sum(counts)).astype(np.uint16)
    symbols[:14] = np.arange(14)
    words = Codewords.encode(np.arange(14, dtype=np.float32)[:, None], 32)
    coded = Codebook(symbols[None], words, size, huffman=True)
    weight = constant("w", np.zeros((1, size), np.float32))
    model = one_node("Gemm", [value("x", "n", size), weight], [weight], transB=1)
    lower(model, [Compressed(find_sites(model)[0], (coded,))], eager("standard"))
    at = np.array([0, 13, SEGMENT - 2, size // 2, size - 2, size - 1])
    x = np.zeros((len(at), size), np.float32)
    x[np.arange(len(at)), at] = 1
    (found,) = outputs(model, tmp_path / "m.onnx", {"x": x})
    np.testing.assert_array_equal(found[:, 0], symbols[at])


@pytest.mark.usefixtures("_coded_always")
def test_a_huffman_code_is_decoded_when_a_session_loads(tmp_path: Path) -> None:
    check("Gemm", lambda seed: form(24, 30, 40, 4, huffman=True, seed=seed), "standard", tmp_path)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(str(tmp_path / "lowered.onnx"), options, providers=["CPUExecutionProvider"])
    assert {node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node} == {"Gemm"}


def test_huffman_coding_makes_the_file_smaller_by_what_the_form_says(tmp_path: Path) -> None:
    sizes, stored = [], []
    for huffman in (False, True):
        weight = constant("w", np.random.default_rng(0).laplace(size=(300, 400)).astype(np.float32))
        model = one_node("Gemm", [value("x", "n", 400), weight], [weight], transB=1)
        plan = make_plan(model, [Rule(method="bins", options={"bins": 8, "huffman": huffman})])
        forms = plan.distort().forms
        stored.append(stored_bytes(forms["w"]))
        lower(model, plan.compressed(forms), eager("standard"))
        save_model(model, tmp_path / "m.onnx", force=True)
        sizes.append((tmp_path / "m.onnx").stat().st_size)
    assert sizes[0] - sizes[1] == pytest.approx(stored[0] - stored[1], abs=NODES + 500)
    assert sizes[1] < 0.8 * sizes[0]


def test_rows_that_share_bytes_can_still_be_gathered(tmp_path: Path) -> None:
    def make(seed: int) -> Codebook:
        rng = np.random.default_rng(seed)
        words = Codewords.encode(rng.normal(size=(16, 10)).astype(np.float32), 32)
        return Codebook(rng.integers(0, 16, (24, 3)).astype(np.uint16), words, 30)

    assert not make(0).layout.aligned
    for mode in MODES:
        check("Gather", make, mode, tmp_path)
        check("MatMul", make, mode, tmp_path)


def test_operators_read_packed_indices_and_standard_mode_has_no_functions(tmp_path: Path) -> None:
    ops = {}
    for mode in MODES:
        model = check("MatMul", lambda seed: form(24, 30, 16, 1, seed=seed), mode, tmp_path)
        ops[mode] = {node.op_type for node in model.graph}
        assert (len(model.functions) > 0) == (mode != "standard")
        packed = [24, 15] if mode != "standard" else [1, 360]  # rows that an operator reads, or all as one
        assert model.graph.initializers["w.indices"].shape == ir.Shape(packed)
    assert "CodebookMatMul" in ops["compute"]
    assert "CodebookDequantize" in ops["storage"]
    assert not {op for op in ops["standard"] if op.startswith("Codebook")}


def test_an_embedding_tied_to_an_output_layer_stays_tied(tmp_path: Path) -> None:
    table = constant("w", np.full((50, 16), 7, np.float32))
    ids = value("ids", "n", dtype=ir.DataType.INT64)
    gather = ir.node("Gather", [table, ids], name="embed")
    gather.outputs[0].name = "e"
    gemm = ir.node("Gemm", [gather.outputs[0], table], {"transB": 1}, name="head")
    gemm.outputs[0].name, gemm.outputs[0].type = "y", ir.TensorType(ir.DataType.FLOAT)
    gemm.outputs[0].shape = ir.Shape([None, 50])
    graph = ir.Graph(
        [ids], list(gemm.outputs), nodes=[gather, gemm], initializers=[table], opset_imports={"": 17}, name="g"
    )
    coded = form(50, 16, 16, 2)
    expected = coded.dense()[[3, 49]] @ coded.dense().T
    for mode in ("standard", "compute"):
        model = ir.Model(graph.clone() if hasattr(graph, "clone") else graph, ir_version=8)
        (site,) = find_sites(model)
        lower(model, [Compressed(site, (coded,))], eager(mode))
        packed = [v for v in model.graph.initializers.values() if v.dtype == ir.DataType.UINT8]
        assert [tuple(v.shape) for v in packed] == [(50, 4)]  # type: ignore[arg-type]
        assert "Transpose" not in {node.op_type for node in model.graph}
        (found,) = outputs(model, tmp_path / "tied.onnx", {"ids": np.array([3, 49])})
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_sites_that_share_a_codebook_store_it_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    w1, w2 = (constant(f"w{i}", (rng.normal(size=(64, 64)) * (i + 1)).astype(np.float32)) for i in range(2))
    x = value("x", "n", 64)
    first = ir.node("MatMul", [x, w1], name="a")
    second = ir.node("MatMul", [first.outputs[0], w2], name="b")
    first.outputs[0].name, second.outputs[0].name = "h", "y"
    second.outputs[0].type, second.outputs[0].shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape([None, 64])
    graph = ir.Graph(
        [x], list(second.outputs), nodes=[first, second], initializers=[w1, w2], opset_imports={"": 17}, name="g"
    )
    model = ir.Model(graph, ir_version=8)
    plan = make_plan(model, [Rule(method="codebook", options={"codewords": 32, "share": True, "codeword_bits": 4})])
    result = plan.distort()
    h = np.ones((1, 64), np.float32)
    expected = h @ result.dense["w0"] @ result.dense["w1"]
    lower(model, plan.compressed(result.forms), eager("compute"))
    assert sum(name.endswith(".values") for name in model.graph.initializers) == 1
    (found,) = outputs(model, tmp_path / "shared.onnx", {"x": h})
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    forms = [form for site in result.forms.values() for form in site]
    assert stored_bytes(forms) == sum(f.nbytes for f in forms) - forms[0].codewords.nbytes


def test_the_file_grows_by_the_bytes_of_the_form(tmp_path: Path) -> None:
    weight = constant("w", np.zeros((500, 800), np.float32))
    model = one_node("Gemm", [value("x", "n", 800), weight], [weight], transB=1)
    save_model(model, tmp_path / "dense.onnx")
    before = (tmp_path / "dense.onnx").stat().st_size - 500 * 800 * 4
    coded = form(500, 800, 61, 2, bits=16)
    lower(model, [Compressed(find_sites(model)[0], (coded,))], eager("standard"))
    save_model(model, tmp_path / "coded.onnx")
    grown = (tmp_path / "coded.onnx").stat().st_size - before
    assert grown == pytest.approx(coded.nbytes, rel=0.01, abs=5000)


REAL = {
    "ptb_rnnlm_lstm100_derived": ({}, ["codebook", "scalar"]),
    "silero_vad_v4": ({}, ["codebook"]),
    "gtcrn_simple": ({}, ["codebook"]),
    "resnet20_cifar10_derived": ({}, ["codebook", "scalar"]),
    "kws_dnn_s": ({}, ["scalar"]),
    "mnist-8": ({}, ["codebook"]),
}
OPTIONS = {
    "codebook": {"codewords": 16, "codeword_bits": 4, "share": True},
    "scalar": {"codewords": 11, "block": 1},
}


def random_feeds(model: ir.Model) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    feeds = {}
    for given in model.graph.inputs:
        if given.name in model.graph.initializers:
            continue
        shape = [size if isinstance(size, int) else 1 for size in given.shape or ()]
        if given.name == "sr":
            feeds["sr"] = np.array(16000, np.int64)
        elif given.dtype == ir.DataType.INT64:
            feeds[given.name] = rng.integers(0, 10, shape)
        else:
            width = 512 if given.name == "input" and len(shape) == 2 and shape[1] == 1 else 0
            feeds[given.name] = (rng.normal(size=(1, width) if width else shape) * 0.1).astype(np.float32)
    return feeds


@pytest.mark.parametrize("mode", ["compute", "standard"])
@pytest.mark.parametrize("name", REAL)
def test_real_models_compute_what_their_distorted_weights_compute(
    name: str, mode: str, data_dir: Path, tmp_path: Path
) -> None:
    path = data_dir / "onnx" / f"{name}.onnx"
    for options in REAL[name][1]:
        model, dense = load_model(path), load_model(path)
        feeds = random_feeds(model)
        plan = make_plan(model, [Rule(method="codebook", options=OPTIONS[options])])
        result = plan.distort()
        assert result.forms
        for site in find_sites(dense):
            if site.name in result.dense:
                site.assign(result.dense[site.name])
        save_model(dense, tmp_path / "dense.onnx", force=True)
        expected = session(tmp_path / "dense.onnx").run(None, feeds)
        lower(model, plan.compressed(result.forms), eager(mode))
        save_model(model, tmp_path / "lowered.onnx", force=True)
        onnx.checker.check_model(str(tmp_path / "lowered.onnx"))
        found = session(tmp_path / "lowered.onnx").run(None, feeds)
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_a_site_that_would_grow_is_left_alone() -> None:
    weight = constant("w", np.ones((2, 9), np.float32))
    model = one_node("Gemm", [value("x", "n", 9), weight], [weight], transB=1)
    plan = make_plan(model, [Rule(method="codebook", options={"codewords": 256, "block": 9})])
    assert "too few for a codebook" in plan.distort().skipped["w"]
    assert KIND.opset <= 17
    assert isinstance(make_method("codebook", {}).distort([]), dict)
    assert Skip("x").reason == "x"
