"""Dropout and Identity are gone from a model that is only run."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from running import checked_bytes, run

from dtc.passes.prepare import strip_training

X = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)


def stripped(body: str, outputs: str = "float[2,4] y", inputs: str = "float[2,4] x") -> ir.Model:
    model = ir.from_onnx_text(f'<ir_version: 8, opset_import: ["": 13]> g ({inputs}) => ({outputs}) {{ {body} }}')
    strip_training(model)
    checked_bytes(model)
    return model


def test_dropout_with_its_training_inputs_disappears() -> None:
    model = stripped("""
        r = Constant <value = float {0.5}> () t = Constant <value = bool {1}> ()
        a = Relu(x) b, m = Dropout(a, r, t) y = Neg(b)""")
    assert [node.op_type for node in model.graph] == ["Relu", "Neg"]
    np.testing.assert_array_equal(run(model, {"x": X})[0], -np.maximum(X, 0))


def test_outputs_keep_their_names() -> None:
    model = stripped("a = Relu(x) b = Identity(a) y = Dropout(b)")
    assert [node.op_type for node in model.graph] == ["Relu"]
    assert [value.name for value in model.graph.outputs] == ["y"]
    np.testing.assert_array_equal(run(model, {"x": X})[0], np.maximum(X, 0))


def test_one_value_as_two_outputs_and_an_input_as_output_stay() -> None:
    model = stripped("a = Relu(x) y = Identity(a) z = Identity(a) v = Identity(x)",
                     "float[2,4] y, float[2,4] z, float[2,4] v")  # fmt: skip
    assert [value.name for value in model.graph.outputs] == ["y", "z", "v"]
    found = run(model, {"x": X})
    for output, expected in zip(found, (np.maximum(X, 0), np.maximum(X, 0), X), strict=True):
        np.testing.assert_array_equal(output, expected)


def test_a_mask_that_is_read_keeps_its_dropout() -> None:
    model = stripped("a, m = Dropout(x) y = Neg(a) z = Not(m)", "float[2,4] y, bool[2,4] z")
    assert "Dropout" in {node.op_type for node in model.graph}


def test_a_branch_that_repeats_an_outer_value_stays_a_branch() -> None:
    model = stripped(
        """a = Relu(x)
        y = If (b) < then_branch = t () => (float[2,4] p) { p = Identity(a) },
                     else_branch = e () => (float[2,4] q) { c = Identity(a) q = Neg(c) } >""",
        inputs="bool b, float[2,4] x",
    )
    for flag, sign in ((True, 1), (False, -1)):
        (found,) = run(model, {"b": np.array(flag), "x": X})
        np.testing.assert_array_equal(found, sign * np.maximum(X, 0))
