"""Moments of batches against NumPy; every BatchNormalization ends up with statistics of its own."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from running import run

from dtc.passes.prepare import normalise
from dtc.passes.prepare.batch_moments import Moments, measurable, pooled, statistics_of, use_batch_moments

NORM = "BatchNormalization <epsilon = 0.01>"


def model_of(body: str, shape: str, opset: int = 17, extra: str = "") -> ir.Model:
    """A graph from x `[n, 3, ..]` to y; scale, shift, mean and variance are initializers a, b, m, v."""
    text = (
        f'<ir_version: 8, opset_import: ["" : {opset}]> g (float[{shape}] x) => (float[{shape}] y) '
        f"<float[3] a = {{2, -1, 0.5}}, float[3] b = {{0, 1, 2}}, float[3] m = {{5, 6, 7}}, "
        f"float[3] v = {{4, 9, 1}}{extra}> {{ {body} }}"
    )
    return ir.from_onnx_text(text)


def by_hand(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """y, mean, variance of the graph above by the moments of the batch, in double precision."""
    x = x.astype(np.float64)
    axes, shape = (0, *range(2, x.ndim)), (1, 3) + (1,) * (x.ndim - 2)
    mean, variance = x.mean(axes), x.var(axes)
    scaled = (x - mean.reshape(shape)) / np.sqrt(variance.reshape(shape) + 0.01)
    return scaled * np.reshape([2, -1, 0.5], shape) + np.reshape([0, 1, 2], shape), mean, variance


@pytest.mark.parametrize("opset", [9, 13, 15, 18, 21])
@pytest.mark.parametrize("sizes", [(5,), (5, 4), (5, 4, 2), (1, 3, 1, 2)])
def test_nodes_normalise_by_the_batch_and_hand_out_its_moments(opset, sizes):
    rest = sizes[1:]
    model = model_of(f"y = {NORM} (x, a, b, m, v)", ", ".join(["n", "3", *map(str, rest)]), opset)
    normalise(model)
    (exposed,) = use_batch_moments(model)
    assert exposed.names == ("m", "v")
    assert not {"m", "v"} & set(model.graph.initializers)
    model.graph.outputs.extend(exposed.values)
    x = (np.random.default_rng(len(sizes)).normal(size=(sizes[0], 3, *rest)) * 3 + 10).astype(np.float32)
    y, *rows = run(model, {"x": x})
    found = exposed.moments(*rows)
    for one, wanted in zip((y, found.mean, found.variance), by_hand(x), strict=True):
        np.testing.assert_allclose(one, wanted, rtol=2e-5, atol=2e-5)
    assert found.count == x.size // 3


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    offset=st.floats(-100, 100),
    spread=st.floats(0.01, 100),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_pooled_batches_have_the_statistics_of_all_values_together(sizes, offset, spread, seed):
    rng = np.random.default_rng(seed)
    parts = [rng.normal(size=(size, 4)) * spread + offset + rng.normal() * spread for size in sizes]
    moments = [[Moments(("mean", "variance"), p.mean(0).astype("f"), p.var(0).astype("f"), len(p))] for p in parts]
    found, whole = pooled(moments), np.concatenate(parts)
    rounding = 1e-6 * (abs(offset) + 5 * spread)  # of the means, which are float32
    np.testing.assert_allclose(found["mean"], whole.mean(0), atol=rounding)
    np.testing.assert_allclose(found["variance"], whole.var(0), rtol=1e-5, atol=rounding * (abs(offset) + 5 * spread))
    assert (found["variance"] >= 0).all()
    assert pooled(moments, enough=len(whole) + 1) == {}
    assert pooled(moments, enough=len(whole)).keys() == {"mean", "variance"}


def test_a_batch_of_one_sample_is_none():
    model = model_of(f"y = {NORM} (x, a, b, m, v)", "1, 3, 8")
    normalise(model)
    assert measurable(model.graph) == []


def test_nothing_comes_of_nothing():
    assert pooled([]) == {}


@pytest.mark.parametrize(
    "body",
    [
        f"h = {NORM} (x, a, b, m, v) y = {NORM} (h, a, b, m, v)",  # both are shared
        f"y = {NORM} (x, v, b, b, v)",  # with scale and shift
        f"i = Identity (m) z = Add (x, x) h = Sub (z, x) y = {NORM} (h, a, b, i, v)",
    ],
)
def test_every_node_has_statistics_of_its_own_and_computes_the_same(body):
    model = model_of(body, "n, 3, 4")
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    (before,) = run(model, {"x": x})
    normalise(model)
    (after,) = run(model, {"x": x})
    assert np.array_equal(before, after)
    names = [name for node in measurable(model.graph) for name in statistics_of(node)]
    assert len(names) == len(set(names)) == 2 * sum(node.op_type == "BatchNormalization" for node in model.graph)
    again = list(model.graph.initializers)
    normalise(model)
    assert list(model.graph.initializers) == again


@pytest.mark.parametrize(
    ("body", "opset"),
    [
        ("t, p, q = BatchNormalization <training_mode = 1> (x, a, b, m, v) y = Identity (t)", 15),
        ("c = Add (m, m) y = BatchNormalization (x, a, b, c, v)", 17),
    ],
)
def test_a_node_whose_statistics_are_no_constants_is_left_alone(body, opset):
    model = model_of(body, "n, 3, 4", opset)
    normalise(model)
    assert measurable(model.graph) == []
    assert use_batch_moments(model) == []
