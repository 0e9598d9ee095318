"""Bundles of target `c`: operators one by one against ONNX Runtime, forms of weights, memory, refusals."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from needed import lacking

from dtc.bundles import BundleDescription, deploy
from dtc.deploy.codegen.compiling import compile_model
from dtc.deploy.codegen.kernel_set import KernelSet
from dtc.deploy.codegen.operators import compilers
from dtc.deploy.codegen.planning import arena_bytes, plan
from dtc.deploy.codegen.program import KernelCall, Loop
from dtc.deploy.codegen.weights.encoding import encode_smallest
from dtc.errors import ModelError
from dtc.graph import save_model
from dtc.graph.inference import infer_shapes
from dtc.job import Job
from dtc.pipeline import compress
from dtc.recipe import Recipe, Rule

RNG = np.random.default_rng(0)

Nodes = Sequence[tuple[str, str, Mapping[str, Any]]]


def numbers(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return RNG.standard_normal(shape).astype(np.float32)


def written(path: Path, inputs: Mapping[str, Sequence[int | str]], constants: Mapping[str, Any], nodes: Nodes) -> Path:
    """Write a model each of whose nodes makes an output; `Name:2` has two, and inputs are named in one string."""
    values = {
        name: ir.Value(
            name=name,
            shape=ir.Shape(shape),
            type=ir.TensorType(ir.DataType.INT64 if name == "ids" else ir.DataType.FLOAT),
        )
        for name, shape in inputs.items()
    }
    initializers = [ir.Value(name=name, const_value=ir.tensor(array, name=name)) for name, array in constants.items()]
    for value in initializers:
        assert value.const_value is not None
        value.shape, value.type = ir.Shape(value.const_value.shape), ir.TensorType(value.const_value.dtype)
    values |= {str(value.name): value for value in initializers}
    made: list[ir.Node] = []
    for index, (op_type, read, attributes) in enumerate(nodes):
        op_type, _, count = op_type.partition(":")
        node = ir.node(
            op_type,
            [values[name] if name != "-" else None for name in read.split()],
            attributes or None,
            num_outputs=int(count or 1),
            name=f"{op_type}_{index}",
        )
        for place, value in enumerate(node.outputs):
            value.name = f"{op_type}_{index}" + (f"_{place}" if place else "")
            values[value.name] = value
        made.append(node)
    outputs = [value for node in made for value in node.outputs]
    graph = ir.Graph(
        [values[name] for name in inputs],
        outputs,
        nodes=made,
        initializers=initializers,
        opset_imports={"": 20},
        name="g",
    )
    model = ir.Model(graph, ir_version=9)
    infer_shapes(model)
    save_model(model, path)
    return path


def ran(folder: Path, flags: str) -> Mapping[str, Any]:
    """Build a bundle on the host and run it; return what it found."""
    if shutil.which("gcc") is None or shutil.which("make") is None:
        lacking("gcc or make is not here")
    subprocess.run(["make", "-s", "host", "CC=gcc", f"CFLAGS={flags}"], cwd=folder, check=True)
    done = subprocess.run(["build/host"], cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


STRICT = "-std=c11 -O0 -Wall -Wextra -Wpedantic -Werror -fsanitize=undefined -fno-sanitize-recover"
"""-O0 builds in a third of the time."""

UNARY = [
    "Abs Ceil Cos Elu Erf Exp Floor HardSigmoid HardSwish LeakyRelu Mish Neg Relu Round Selu Sigmoid Sign Sin",
    "Softplus Softsign Tanh ThresholdedRelu Celu Gelu Identity",
]

POSITIVE = "Log Reciprocal Sqrt"
PAIRS = "Add Sub Mul Div PRelu Less Greater LessOrEqual GreaterOrEqual"


OPERATORS: Nodes = [
    ("Clip", "x - half", {}),
    ("Max", "x row half", {}),
    ("Min", "x row", {}),
    ("Sum", "x row x", {}),
    ("Mean", "x row", {}),
    ("Cast", "ids", {"to": 1}),
    ("Conv", "x kernel bias6", {"group": 2, "dilations": [2, 1], "strides": [1, 2], "pads": [1, 0, 2, 1]}),
    ("Conv", "x deep", {"group": 4, "auto_pad": "SAME_LOWER"}),
    ("Conv", "s line", {"pads": [2, 0], "strides": [2]}),
    ("ConvTranspose", "x back", {"strides": [2, 1], "pads": [1, 0, 0, 1], "output_padding": [1, 0]}),
    ("ConvTranspose", "x kernel_back", {"group": 2, "dilations": [1, 2]}),
    ("ConvTranspose", "s line_back", {"strides": [3], "auto_pad": "SAME_UPPER"}),
    ("BatchNormalization", "x scale4 bias4 mean4 var4", {}),
    ("InstanceNormalization", "x scale4 bias4", {}),
    ("LayerNormalization", "x norm norm", {}),
    ("Softmax", "x", {"axis": 1}),
    ("LogSoftmax", "x", {}),
    ("MaxPool", "x", {"kernel_shape": [3, 2], "pads": [1, 0, 1, 1], "strides": [2, 1], "ceil_mode": 1}),
    ("AveragePool", "x", {"kernel_shape": [2, 3], "pads": [1, 1, 0, 2], "count_include_pad": 1}),
    ("AveragePool", "x", {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ("MaxPool", "s", {"kernel_shape": [3], "dilations": [2]}),
    ("GlobalAveragePool", "x", {}),
    ("GlobalMaxPool", "x", {}),
    ("ReduceMean", "x axes23", {"keepdims": 0}),
    ("ReduceSum", "x two", {}),
    ("ReduceL2", "x", {}),
    ("ReduceMax", "x axes23", {}),
    ("ArgMax", "x", {"axis": 2, "keepdims": 0}),
    ("MatMul", "x dense", {}),
    ("Reshape", "x flat", {}),
    ("Transpose", "x", {"perm": [0, 3, 1, 2]}),
    ("Pad", "x pads", {"mode": "reflect"}),
    ("Pad", "x pads half", {}),
    ("Pad", "x pads", {"mode": "edge"}),
    ("Slice", "x starts ends axes23 steps", {}),
    ("Split:2", "x parts", {"axis": 1}),
    ("Concat", "x x", {"axis": 2}),
    ("Expand", "x wide", {}),
    ("Tile", "x twice", {}),
    ("Resize", "x - scales", {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}),
    ("Resize", "x - scales", {"mode": "nearest"}),
    ("DepthToSpace", "x", {"blocksize": 2}),
    ("Gather", "table ids", {}),
    ("Gather", "x ids", {"axis": 1}),
    ("Gather", "x parts", {"axis": 2}),
    ("ScatterND", "x places updates", {}),
    ("LSTM:3", "t W_lstm R_lstm B_lstm", {"hidden_size": 3, "direction": "bidirectional", "clip": 0.8}),
    ("LSTM:3", "t W_gru4 R_gru4 - - h0 h0", {"hidden_size": 3, "direction": "reverse"}),
    ("LSTM:3", "t W_lstm R_lstm B_lstm - - - peepholes", {"hidden_size": 3, "direction": "bidirectional"}),
    # Inputs of some steps are multiplied at once, and of all steps in two turns.
    ("LSTM:3", "long W_long R_long", {"hidden_size": 60, "direction": "reverse"}),
    ("GRU:2", "long W_long3 R_long3", {"hidden_size": 60}),
    ("RNN:2", "t W_rnn R_rnn B_rnn", {"hidden_size": 3, "direction": "bidirectional"}),
    ("RNN:2", "t W_rnn1 R_rnn1 - - h0", {"hidden_size": 3, "direction": "reverse", "clip": 0.5}),
    ("GRU:2", "t W_gru R_gru B_gru - h0", {"hidden_size": 3, "linear_before_reset": 1}),
    ("GRU:2", "t W_gru R_gru B_gru", {"hidden_size": 3}),
    ("Shape", "x", {}),
    # Larger than all that was multiplied; beyond its own axis; cut off in front; limits that contradict.
    ("ConvTranspose", "x back", {"strides": [2, 2], "output_shape": [14, 11], "auto_pad": "SAME_UPPER"}),
    ("Pad", "x wide_pads", {"mode": "edge"}),
    ("Pad", "x cut", {"mode": "reflect"}),
    ("Pad", "ids one_one least", {}),
    ("Clip", "x half row0", {}),
    ("Mean", "x", {}),
    ("ReduceL2", "x none", {"noop_with_empty_axes": 1}),
    ("ReduceMean", "x none", {"noop_with_empty_axes": 1}),
    ("Resize", "s - - sizes", {"nearest_mode": "floor"}),
    # Along the last axis places change, and not the size.
    ("Resize", "x - nearly", {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}),
    ("Mul", "ids huge", {}),
    ("Max", "ids least", {}),
    # Nothing at all, which is no array of C.
    ("Concat", "s nothing", {"axis": 0}),
    ("MatMul", "x zeros", {}),
]  # fmt: skip
"""Nodes of inputs and constants alone."""


def constants_of_operators() -> dict[str, Any]:
    """Return the constants that the nodes of `many_operators` read."""
    return {
        "half": np.float32(0.5),
        "row": numbers(5),
        "one": np.array([1]),
        "two": np.array([2]),
        "six": np.array([6]),
        "kernel": numbers(6, 2, 3, 2),
        "bias6": numbers(6),
        "deep": numbers(4, 1, 3, 3),
        "back": numbers(4, 3, 3, 2),
        "line": numbers(3, 4, 3),
        "line_back": numbers(4, 2, 4),
        "scale4": numbers(4),
        "bias4": numbers(4),
        "mean4": numbers(4),
        "var4": np.abs(numbers(4)) + np.float32(0.1),
        "dense": numbers(5, 7),
        "gemm": numbers(7, 120),
        "bias7": numbers(7),
        "norm": numbers(5),
        "pads": np.array([0, 1, 2, 0, 0, 0, 1, 3]),
        "starts": np.array([3, -1]),
        "ends": np.array([0, -5]),
        "axes23": np.array([1, 3]),
        "steps": np.array([-1, -2]),
        "parts": np.array([1, 3]),
        "flat": np.array([1, -1]),
        "wide": np.array([2, 4, 6, 5]),
        "twice": np.array([1, 2, 1, 3]),
        "scales": np.array([1, 1, 2, 1.5], np.float32),
        "table": numbers(64, 5),
        "places": np.array([[0, 2], [0, 0]]),
        "updates": numbers(2, 6, 5),
        "W_lstm": numbers(2, 12, 6),
        "R_lstm": numbers(2, 12, 3),
        "B_lstm": numbers(2, 24),
        "peepholes": numbers(2, 9),
        "W_rnn": numbers(2, 3, 6),
        "R_rnn": numbers(2, 3, 3),
        "B_rnn": numbers(2, 6),
        "W_rnn1": numbers(1, 3, 6),
        "R_rnn1": numbers(1, 3, 3),
        "W_gru": numbers(1, 9, 6),
        "R_gru": numbers(1, 9, 3),
        "B_gru": numbers(1, 18),
        "W_long": np.float32(0.1) * numbers(1, 240, 200),
        "R_long": np.float32(0.1) * numbers(1, 240, 60),
        "W_long3": np.float32(0.1) * numbers(1, 180, 200),
        "R_long3": np.float32(0.1) * numbers(1, 180, 60),
        "kernel_back": numbers(4, 3, 2, 2),
        "W_gru4": numbers(1, 12, 6),
        "R_gru4": numbers(1, 12, 3),
        "wide_pads": np.array([0, 0, 9, 0, 0, 0, 8, 7]),
        "cut": np.array([0, 1, -2, -1, 0, -1, 2, 0]),
        "one_one": np.array([1, 1]),
        "least": np.array(-(2**63)),
        "huge": np.array(2**62 + 1),
        "row0": np.float32(-0.5),
        "none": np.zeros(0, np.int64),
        "sizes": np.array([1, 4, 1]),
        "nearly": np.array([1, 1, 2, 1.1], np.float32),
        "nothing": numbers(0, 4, 9),
        "zeros": np.zeros((5, 60), np.float32),
        "zero": np.float32(0),
        "special": np.array([np.nan, np.inf, -np.inf, 1e30, 0.25], np.float32),
        "other": np.array([1, -np.inf, np.nan, -1e30, 0], np.float32),
    }  # fmt: skip


def many_operators() -> tuple[Mapping[str, Sequence[int | str]], Mapping[str, Any], Nodes]:
    """Return inputs, constants and nodes of a model that has nearly all operators."""
    nodes: list[tuple[str, str, Any]] = [(name, "x", {}) for line in UNARY for name in line.split()]
    nodes += [("Abs", "x", {}), ("Add", f"Abs_{len(nodes)} half", {})]
    positive = f"Add_{len(nodes) - 1}"
    nodes += [(name, positive, {}) for name in POSITIVE.split()]
    nodes += [(name, "x row", {}) for name in PAIRS.split()]
    less = f"Less_{len(nodes) - 4}"
    nodes += [
        ("Pow", f"{positive} half", {}),
        ("Not", less, {}),
        ("And", f"{less} {less}", {}),
        ("Where", f"{less} x row", {}),
        ("Cast", f"{less}", {"to": 1}),
        *OPERATORS,
    ]
    nodes += [("Reshape", "x flat", {}), ("Gemm", f"Reshape_{len(nodes)} gemm bias7", {"transB": 1, "alpha": 0.5})]
    nodes += [("Transpose", "x", {"perm": [0, 1, 3, 2]}), ("MatMul", f"x Transpose_{len(nodes)}", {})]
    nodes += [("Equal", f"{less} {less}", {})]
    special = f"Add_{len(nodes) + 1}"
    nodes += [("Mul", "x zero", {}), ("Add", f"Mul_{len(nodes)} special", {})]
    nodes += [
        (name, special, {}) for name in ["Relu", "HardSigmoid", "HardSwish", "Celu", "Sigmoid", "Softplus", "Sign"]
    ]
    nodes += [(name, f"{special} other", {}) for name in ("Max", "Min")]
    nodes += [("Pow", f"{special} half", {}), ("Clip", f"{special} zero half", {}), ("Cast", special, {"to": 7})]
    inputs = {"x": ("N", 4, 6, 5), "s": (1, 4, 9), "t": (9, "N", 6), "long": (20, 2, 200)}
    inputs |= {"h0": (1, "N", 3), "ids": (2,)}
    return inputs, constants_of_operators(), nodes


def test_operators_compute_as_in_onnx_runtime_in_strict_c(tmp_path: Path) -> None:
    told = deploy(written(tmp_path / "model.onnx", *many_operators()), "c", tmp_path / "bundle")
    found = ran(tmp_path / "bundle", STRICT)
    assert found["relative_l2"] <= 2e-6
    assert found["memory"] == told.figures["arena"]
    assert [each.shape[0] for each in told.inputs] == [1, 1, 9, 20, 1, 2]


def compressed_weights() -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    """Return matrices `[30, 70]` that have a form, by its word."""
    sign, pick = (RNG.integers(0, 2, (30, 70)) * 2 - 1 for _ in range(2))
    sign[:, -2:] = 1, -1  # both in the last group of columns, which is short
    sparse = numbers(30, 70) * (RNG.random((30, 70)) < 0.1)
    sparse[3] = 0
    two = np.float32(0.5) * sign * numbers(30, 1) + pick * numbers(30, 1) + np.float32(0.25)
    grouped = np.repeat(numbers(30, 3).astype(np.float16), 32, axis=1)[:, :70] * sign
    return {
        "dense": numbers(30, 70),
        "sparse": sparse,
        "signs": two.astype(np.float32),
        "signs of groups": grouped.astype(np.float32),
        "signs with a mask": (sign * (pick > 0) * numbers(30, 1)).astype(np.float32),
        "codebook": numbers(13, 1)[RNG.integers(0, 13, (30, 70))][..., 0],
        "codebook of many": numbers(20, 4)[RNG.integers(0, 20, (30, 18))].reshape(30, 72)[:, :70],
        "codebook of blocks": numbers(11, 4)[RNG.integers(0, 11, (30, 18))].reshape(30, 72)[:, :70],
    }


def test_weights_are_kept_and_computed_on_in_their_forms(tmp_path: Path) -> None:
    weights = compressed_weights()
    stored = {name: encode_smallest(weight) for name, weight in weights.items()}
    assert {name: each.form for name, each in stored.items()} == {name: name.split()[0] for name in weights}
    # Of two coefficients and 0.25 a row, 16 bits hold the last; of three groups all.
    assert stored["signs"].nbytes == 30 * (2 * 9 + 4 * 2 + 2)
    assert stored["signs of groups"].nbytes == 30 * (9 + 2 * 3)
    assert stored["sparse"].nbytes <= 6 * np.count_nonzero(weights["sparse"]) + 4 * 31
    # Products of many rows, with one vector and several, of few rows (a convolution in groups), and rows themselves.
    nodes: list[tuple[str, str, Any]] = [
        *(("Gemm", f"x {name.replace(' ', '_')}", {"transB": 1}) for name in weights),
        *(("Gemm", f"several {name.replace(' ', '_')}", {"transB": 1}) for name in weights),
        *(("Conv", f"image {name.replace(' ', '_')}_image", {"group": 15}) for name in weights),
        *(("Gather", f"{name.replace(' ', '_')} ids", {}) for name in weights),
    ]
    constants = {name.replace(" ", "_"): weight for name, weight in weights.items()}
    constants |= {f"{name}_image": weight.reshape(30, 10, 1, 7) for name, weight in constants.items()}
    inputs = {"x": ("N", 70), "several": (6, 70), "image": ("N", 150, 1, 9), "ids": (3,)}
    told = deploy(written(tmp_path / "model.onnx", inputs, constants, nodes), "c", tmp_path / "bundle")
    assert ran(tmp_path / "bundle", STRICT)["relative_l2"] <= 2e-6
    # Equal weights of several nodes are there once.
    assert told.figures["weights"] == sum(each.nbytes for each in stored.values())


@pytest.mark.parametrize("bits", [1, 2, 3])
def test_planes_of_signs_are_found_in_the_numbers_alone(bits: int) -> None:
    alphas = np.sort(RNG.random((bits, 20, 1)) + 0.1, axis=0)[::-1].astype(np.float16).astype(np.float32)
    weight = (alphas * (2 * RNG.integers(0, 2, (bits, 20, 200)) - 1)).sum(axis=0, dtype=np.float32)
    stored = encode_smallest(weight)
    assert (stored.form, stored.numbers["planes"], stored.arrays["offsets"]) == ("signs", bits, None)
    # Coefficients of 16 bits, as files hold them, are stored as such.
    halves = stored.arrays["half_alphas"]
    assert halves is not None
    np.testing.assert_array_equal(np.sort(halves.view(np.float16)[:, 0], axis=1), np.sort(alphas[..., 0].T, axis=1))


@pytest.mark.parametrize(("count", "cols", "together"), [(3, 8, 4), (10, 8, 8), (16, 8, 8), (20, 900, 4), (5, 1, 8)])
def test_vectors_are_multiplied_in_whole_strips_as_even_as_may_be(count: int, cols: int, together: int) -> None:
    assert KernelSet(width=4, panel=64).together(count, cols) == together


def test_memory_is_shared_by_what_is_not_needed_at_the_same_time(tmp_path: Path) -> None:
    nodes = [("Relu", "x", {}), *(("Transpose", f"{'Relu' if not n else 'Transpose'}_{n}", {}) for n in range(6))]
    program = compile_model(ir.load(written(tmp_path / "model.onnx", {"x": (8, 9)}, {}, nodes)))
    # All but the input are outputs here, which are the caller's memory.
    assert arena_bytes(plan(program)) == 0
    model = ir.load(tmp_path / "model.onnx")
    del model.graph.outputs[:-1]
    assert arena_bytes(plan(compile_model(model))) == 2 * 4 * 72


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        (("NonZero", "x", {}), "node 'NonZero_0' (NonZero): there is no kernel for operator NonZero"),
        (("Resize", "x - scales", {"mode": "linear"}), "node 'Resize_0' (Resize): there is mode nearest alone"),
        (("Cast", "x", {"to": 11}), "'Cast_0' is DOUBLE; there are float32, int64, int32 and bool: export"),
        (("TopK:2", "x one", {}), "there is no kernel for operator TopK"),
        (("Dropout:2", "x", {}), "node 'Dropout_0' (Dropout): the mask as an output is not there"),
        (("Conv", "image image", {}), "node 'Conv_0' (Conv): the weights must be constant"),
        (
            ("Resize", "x - - one", {"axes": [1], "keep_aspect_ratio_policy": "not_larger"}),
            "sizes that keep the aspect ratio are not there",
        ),
    ],
)
def test_what_cannot_be_compiled_names_the_node(node: tuple[str, str, Any], reason: str, tmp_path: Path) -> None:
    constants = {"scales": np.array([2, 2], np.float32), "one": np.array([1])}
    model = written(tmp_path / "model.onnx", {"x": (3, 3), "image": (1, 1, 3, 3)}, constants, [node])
    with pytest.raises(ModelError, match="target 'c': node") as error:
        deploy(model, "c", tmp_path / "bundle")
    assert reason in str(error.value)
    assert not (tmp_path / "bundle").exists()


def test_names_that_are_the_same_in_c_are_told_apart_and_a_constant_may_be_an_output(tmp_path: Path) -> None:
    names = ["a_2", "a", "a!", "int", "x*/y", "new\nline", "??/", "%s\\", "\u00e4"]
    inputs: dict[str, Sequence[int | str]] = dict.fromkeys(names, (3,))
    model = ir.load(written(tmp_path / "model.onnx", {**inputs, "b": (3,)}, {"c": numbers(4)}, []))
    sums = [ir.node("Add", [each, model.graph.inputs[-1]], name=str(each.name)) for each in model.graph.inputs[:-1]]
    model.graph.extend(sums)
    for node, name in zip(sums, names, strict=True):
        node.outputs[0].name = f"{name} "
        node.outputs[0].type, node.outputs[0].shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape([3])
        model.graph.outputs.append(node.outputs[0])
    model.graph.outputs.append(model.graph.initializers["c"])
    save_model(model, tmp_path / "named.onnx")
    deploy(tmp_path / "named.onnx", "c", tmp_path / "bundle")
    assert ran(tmp_path / "bundle", STRICT)["relative_l2"] == 0


def test_a_bundle_tells_its_sizes(tmp_path: Path) -> None:
    model = written(tmp_path / "model.onnx", {"x": ("N", 40)}, {"w": numbers(40, 30)}, [("MatMul", "x w", {})])
    deploy(model, "c", tmp_path / "bundle")
    told = BundleDescription.model_validate_json((tmp_path / "bundle/deploy.json").read_bytes())
    assert told.figures == {"weights": 4800, "other constants": 0, "arena": 4, "multiply-adds": 1200}
    assert "Flash takes 4.80 kB of weights" in told.notes[0]
    assert "#define MODEL_ARENA_BYTES 4" in (tmp_path / "bundle/model.h").read_text()


def test_the_page_lists_the_operators() -> None:
    page = (Path(__file__).parents[2] / "docs" / "deploying.md").read_text(encoding="utf-8")
    told = re.search(r"refused by the name of its node: ([^.]*)[.]", " ".join(page.split()))
    assert told is not None
    assert told[1].split(", ") == sorted(compilers())


def test_low_rank_states_and_coded_tables_arrive_as_such(tmp_path: Path) -> None:
    constants = {"table": numbers(90, 16), "W": numbers(1, 96, 16), "R": numbers(1, 96, 24), "out": numbers(24, 90)}
    nodes: list[tuple[str, str, Any]] = [
        ("Gather", "table ids", {}),
        ("Reshape", "Gather_0 shape", {}),
        ("LSTM:3", "Reshape_1 W R - - h h", {"hidden_size": 24}),
        ("Squeeze", "LSTM_2", {}),
        ("MatMul", "Squeeze_3 out", {}),
    ]
    constants["shape"] = np.array([3, 1, 16])
    model = written(tmp_path / "model.onnx", {"ids": (3,), "h": (1, 1, 24)}, constants, nodes)
    programs = {}
    for method, options, lower in (
        ("svd", {"rank": 4}, "scan"),
        ("svd", {"rank": 4}, "compute"),
        ("binary", {"bits": 1}, "compute"),
    ):
        recipe = Recipe(rules=(Rule(method=method, options=options),), lower=lower)
        small = compress(model, recipe, Job(tmp_path / f"{method}.{lower}.onnx", seconds=0)).output
        programs[method, lower] = small, compile_model(ir.load(small))
    assert any(isinstance(step, Loop) for step in programs["svd", "scan"][1].steps)
    assert "low_rank" in {weight.form for weight in programs["svd", "compute"][1].weights}
    assert {weight.form for weight in programs["binary", "compute"][1].weights} == {"signs"}
    deploy(programs["svd", "scan"][0], "c", tmp_path / "bundle")
    assert ran(tmp_path / "bundle", STRICT)["relative_l2"] <= 2e-6


def test_bodies_of_loops_take_sizes_from_around_them() -> None:
    text = """<ir_version: 9, opset_import: ["": 17]> one (float[2, 3] first, float[5, 6] x) => (float[2, 3] last)
        <int64[2] shape = {2, 3}, int64[1] zero = {0}, int64[1] one = {1}> {
            last = Scan (first, x) <num_scan_inputs = 1,
                body = step (float[2, 3] state, float[6] line) => (float[2, 3] next) {
                matrix = Reshape (line, shape)
                row = Slice (matrix, zero, one, zero)
                next = Add (state, row)
            }>
        }"""
    loops = [step for step in compile_model(ir.from_onnx_text(text)).steps if isinstance(step, Loop)]
    assert [call.function for call in loops[0].body if isinstance(call, KernelCall)] == [
        "dtc_add_float",
        "dtc_copy_float",
    ]


def test_factors_that_the_file_multiplies_are_stored_and_multiplied_one_after_the_other(tmp_path: Path) -> None:
    constants = {
        "left": numbers(60, 5),
        "right": numbers(5, 90),
        "back": np.array([60, 10, 3, 3]),
        "w": numbers(1, 96, 8),
    }
    constants |= {"a": numbers(1, 96, 3), "b": numbers(1, 3, 24), "whole": numbers(60, 50), "wide": numbers(50, 90)}
    nodes: list[tuple[str, str, Any]] = [
        ("MatMul", "left right", {}),
        ("Transpose", "MatMul_0", {}),
        ("MatMul", "one Transpose_1", {}),
        ("MatMul", "several Transpose_1", {}),
        ("Reshape", "MatMul_0 back", {}),
        ("Conv", "image Reshape_4", {"strides": [2, 1]}),
        ("MatMul", "a b", {}),
        ("LSTM:3", "steps w MatMul_6", {"hidden_size": 24}),
        # As an input, and not as a weight, a product is computed; and one that is smaller than its factors is stored.
        ("MatMul", "steps inner", {}),
        ("MatMul", "MatMul_8 outer", {}),
        ("RNN:2", "MatMul_9 w_rnn r_rnn", {"hidden_size": 2}),
        ("MatMul", "whole wide", {}),
        ("Gemm", "one MatMul_11", {"transB": 1}),
        ("MatMul", "both_a both_b", {}),
        ("GRU:2", "steps MatMul_13 both_r", {"hidden_size": 24, "direction": "bidirectional"}),
    ]
    constants |= {"both_a": numbers(2, 72, 2), "both_b": numbers(2, 2, 8), "both_r": numbers(2, 72, 24)}
    constants |= {
        "inner": numbers(8, 1),
        "outer": numbers(1, 20),
        "w_rnn": numbers(1, 2, 20),
        "r_rnn": numbers(1, 2, 2),
    }
    inputs = {"one": ("N", 90), "several": (11, 90), "image": (1, 10, 9, 9), "steps": (4, 1, 8)}
    model = ir.load(written(tmp_path / "model.onnx", inputs, constants, nodes))
    products = [
        value for value in model.graph.outputs if value.name in ("MatMul_0", "MatMul_6", "MatMul_11", "MatMul_13")
    ]
    for value in [*products, *(each for each in model.graph.outputs if each.name in ("Transpose_1", "Reshape_4"))]:
        model.graph.outputs.remove(value)
    save_model(model, tmp_path / "factors.onnx")
    told = deploy(tmp_path / "factors.onnx", "c", tmp_path / "bundle")
    assert ran(tmp_path / "bundle", STRICT)["relative_l2"] <= 2e-5
    kept = ("left", "right", "a", "b", "w", "inner", "outer", "w_rnn", "r_rnn", "both_a", "both_b", "both_r")
    assert told.figures["weights"] == 4 * (sum(constants[name].size for name in kept) + 60 * 90)


@pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None or shutil.which("qemu-system-arm") is None,
    reason="needs gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm",
)
def test_a_run_longer_than_the_counter_is_counted_on_a_device(tmp_path: Path) -> None:
    """The counter goes round after 10.5 million instructions; six million products take more than 16."""
    weights, nodes = {"w": numbers(1024, 2048)}, [("MatMul", "x w", {})]
    deploy(written(tmp_path / "model.onnx", {"x": (3, 1024)}, weights, nodes), "c", tmp_path / "bundle")
    done = subprocess.run(
        ["make", "-s", "run-m4"], cwd=tmp_path / "bundle", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    counted = re.search(r"(\d+) instructions", done.stdout)
    assert counted is not None
    assert int(counted[1]) > 16 << 20
