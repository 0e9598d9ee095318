"""The native recurrent operators against ONNX Runtime's own LSTM and GRU on the dense weights.

Tolerance: 1e-4 of the largest output (max norm): activations and sums of another kind, fed back over a few steps, and
binary codes in 16-bit tables.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from needed import lacking
from recurrent_graphs import Options
from recurrent_weights import pair
from running import relative_error, run
from test_recurrent_ops import NAMES, options

from dtc.deploy.ops.library import library_path, register
from dtc.deploy.ops.recurrent.operators import forms_of

TOLERANCE = 1e-4


@pytest.fixture(autouse=True, scope="module")
def _library() -> None:
    if library_path() is None:
        lacking("the native library is not built")


def native_session(model: ir.Model, threads: int = 1) -> ort.InferenceSession:
    # Without the function there is no way around the kernel.
    model.functions.clear()
    told = ort.SessionOptions()
    told.intra_op_num_threads = threads
    told.log_severity_level = 4
    assert register(told)
    return ort.InferenceSession(ir.to_proto(model).SerializeToString(), told, providers=["CPUExecutionProvider"])


def run_native(model: ir.Model, feeds: dict[str, Any], threads: int = 1) -> list[Any]:
    return native_session(model, threads).run(None, feeds)


@pytest.mark.parametrize("name", NAMES)
def test_a_kernel_is_the_node_on_the_dense_weights(name: str) -> None:
    cell, w, r = forms_of(name)

    @settings(max_examples=4, deadline=None, derandomize=True)
    @given(options(cell), st.integers(0, 1000))
    def check(o: Options, seed: int) -> None:
        standard, coded, feeds = pair(o, w, r, seed)
        for found, expected in zip(run_native(coded, feeds), run(standard, feeds), strict=True):
            assert relative_error(found, expected) <= TOLERANCE

    check()


@pytest.mark.parametrize(("op", "direction"), [("LSTM", "bidirectional"), ("GRU", "reverse"), ("LSTM", "forward")])
def test_a_larger_node_on_two_threads(op: str, direction: str) -> None:
    linear = int(op == "GRU")
    o = Options(op, direction, steps=35, batch=20, inputs=40, hidden=96, lengths=True, linear_before_reset=linear)
    for w, r in (("binary", "binary"), ("bitmap", "sparse"), ("codebook", "low_rank"), ("sparse", "codebook")):
        standard, coded, feeds = pair(o, w, r, 3)
        for found, expected in zip(run_native(coded, feeds, threads=2), run(standard, feeds), strict=True):
            assert relative_error(found, expected) <= 5e-4  # what 16-bit tables leave over 35 steps


@pytest.mark.parametrize(("level", "bound"), [(0, 1e-5), (1, 5e-4), (4, 6e-2)])
@pytest.mark.parametrize("op", ["LSTM", "GRU"])
def test_errors_of_tables_do_not_grow_over_many_steps(op: str, level: int, bound: float) -> None:
    """Measured on 650 numbers of state, 1 to 3 bits, 35 steps: 1e-6, 8e-5 and 2e-2."""
    o = Options(op=op, steps=35, batch=2, inputs=64, hidden=64, linear_before_reset=int(op == "GRU"))
    standard, coded, feeds = pair(o, "binary", "binary", 1)
    coded.graph[-1].attributes["accuracy_level"] = ir.AttrInt64("accuracy_level", level)
    for found, expected in zip(run_native(coded, feeds), run(standard, feeds), strict=True):
        assert relative_error(found, expected) <= bound


def test_shapes_are_inferred() -> None:
    _, coded, _ = pair(Options(direction="bidirectional", hidden=6), "sparse", "binary", 0)
    for value in coded.graph.outputs:
        value.shape = None
    shapes = [output.shape for output in native_session(coded).get_outputs()]
    assert shapes == [["T", 2, "N", 6], [2, "N", 6], [2, "N", 6]]


@pytest.mark.parametrize(("change", "message"), [
    ({"hidden_size": 7}, "first dimension"),
    ({"input_size": 4}, "columns"),
    ({"direction": "bidirectional"}, "first dimension"),
    ({"direction": "sideways"}, "direction is sideways"),
    ({"hidden_size": -3}, "hidden_size is -3"),
    ({"hidden_size": 1 << 40}, "hidden_size is"),
    ({"clip": -1.0}, "clip must not be below 0"),
])  # fmt: skip
def test_attributes_that_do_not_fit_are_refused(change: dict[str, Any], message: str) -> None:
    _, coded, feeds = pair(Options(), "sparse", "sparse", 0)
    for name, value in change.items():
        coded.graph[0].attributes[name] = ir.convenience.convert_attribute(name, value)
    for output in coded.graph.outputs:
        output.shape = None
    with pytest.raises(Exception, match=message):
        run_native(coded, feeds)


@pytest.mark.parametrize("form", ["sparse", "bitmap", "binary", "codebook", "low_rank"])
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_arrays_that_are_too_short_are_refused(form: str, direction: str) -> None:
    _, whole, feeds = pair(Options(direction=direction), "sparse", form, 0)
    arrays = [name for name in whole.graph.initializers if name.startswith("r_")]
    for name in arrays:
        _, coded, feeds = pair(Options(direction=direction), "sparse", form, 0)
        value = coded.graph.initializers[name]
        assert value.const_value is not None
        array = np.asarray(value.const_value.numpy())
        for axis in range(array.ndim):
            optional = name in ("r_codes", "r_alphas") and axis == 1  # a mask, a constant term
            if name == "r_codewords" or optional or array.shape[axis] == 1:
                continue
            short = np.ascontiguousarray(np.delete(array, -1, axis))
            value.const_value = ir.tensor(short, name=name)
            value.shape = ir.Shape(short.shape)
            with pytest.raises(Exception, match=r"dtc\."):
                run_native(coded, feeds)


def test_lengths_beyond_the_steps_are_refused() -> None:
    _, coded, feeds = pair(Options(lengths=True, steps=4), "sparse", "dense", 0)
    session = native_session(coded)
    for length in (-1, 5, 2**31 - 1):
        with pytest.raises(Exception, match=r"sequence_lens\[1\] is"):
            session.run(None, feeds | {"lengths": np.array([4, length], dtype=np.int32)})


def test_inputs_of_another_shape_are_refused() -> None:
    _, coded, feeds = pair(Options(), "dense", "sparse", 0)
    session = native_session(coded)
    with pytest.raises(Exception, match=r"initial_h has shape \[1, 3, 6\], not \[1, 2, 6\]"):
        session.run(None, feeds | {"h0": np.zeros((1, 3, 6), dtype=np.float32)})
