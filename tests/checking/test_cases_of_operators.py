"""Weights of all operators, and computed ones, from the command line: compressed, or named with a reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from check_graphs import HEAD, weight, written

from dtc.graph import load_model
from dtc.sample_inputs import sample_inputs
from dtc.session import runner, session

Dtc = Callable[..., tuple[int, str, str]]
Case = Callable[[str], Path]
UNIFORM = ("-m", "uniform", "--bits", 4, "--seconds", 0)
CASES = {"convT": 0.2, "rec_rnn": 0.4, "einsum2": 0.2, "qkv_split": 0.2, "gather_3d": 0.2, "gemm_w_left": 0.2}
"""What 4 bits may change at most; a recurrence of random weights makes more of it."""


def worst_difference(source: Path, output: Path) -> float:
    run = runner(session(source))
    (feed,) = sample_inputs(load_model(source), run, count=1, seed=0, fixed={})
    wanted, found = run(feed), runner(session(output))(feed)
    return max(float(np.linalg.norm(found[name] - wanted[name]) / np.linalg.norm(wanted[name])) for name in wanted)


@pytest.mark.parametrize("name", CASES)
def test_weights_of_every_operator_are_compressed(dtc: Dtc, case: Case, tmp_path: Path, name: str) -> None:
    source, output = case(name), tmp_path / "o.onnx"
    status, _, err = dtc("compress", source, *UNIFORM, "-o", output)
    assert (status, err) == (0, "")
    assert output.stat().st_size < 0.5 * source.stat().st_size
    assert worst_difference(source, output) < CASES[name]


COMPUTED = {
    "scaled": "v = Mul (W, s)",
    "of the shape that it had": "v = Slice (W, last, before, first, back)",
    "weight norm": "l = ReduceL2 <axes = [0]> (W) n = Div (W, l) v = Mul (n, g)",
    "shifted, behind a Transpose": "t = Transpose (W) a = Add (t, s) v = Transpose (a)",
}


@pytest.mark.parametrize("chain", COMPUTED)
def test_a_computed_weight_is_compressed_whole(dtc: Dtc, tmp_path: Path, chain: str) -> None:
    text = HEAD + f"(float[2, 64] x) => (float[2, 48] y) {{ {COMPUTED[chain]} y = MatMul (x, v) }}"
    bounds = {"last": [-1], "before": [-100], "first": [0], "back": [-1]}
    arrays = {name: np.array(numbers) for name, numbers in bounds.items()}
    scales = {"s": np.float32(0.5), "g": weight(48)}
    source = written(tmp_path, text, W=weight(64, 48), **arrays, **scales)
    output = tmp_path / "o.onnx"
    status, out, err = dtc("compress", source, *UNIFORM, "-o", output)
    assert (status, err) == (0, "")
    assert "W " in out
    assert worst_difference(source, output) < 0.2


LEFT = {
    "GatherND": ("(float[2, 64] x, int64[2, 2] i) => (float[2] y) { y = GatherND (W, i) }", "GatherND (no product"),
    "Einsum": (
        '(float[2, 64] x) => (float[2] y) { y = Einsum <equation = "bi,ii->b"> (x, W) }',
        "Einsum (its diagonal is read)",
    ),
    "Add": ("(float[64, 64] x) => (float[64, 64] y) { t = Transpose (W) y = Add (x, t) }", "Add (no product"),
}


@pytest.mark.parametrize("operator", LEFT)
def test_what_is_no_site_is_named_with_the_operator_that_reads_it(dtc: Dtc, tmp_path: Path, operator: str) -> None:
    text, reason = LEFT[operator]
    source = written(tmp_path, HEAD + text, W=weight(64, 64))
    status, _, err = dtc("compress", source, *UNIFORM, "-o", tmp_path / "o.onnx")
    assert status == 2
    assert f"the largest, 'W' of 16.38 kB: read by {reason}" in err
    assert "quantized" not in err
    assert len(err.splitlines()) == 1
    assert dtc("inspect", source, "--json")[1].count(f"read by {reason}") == 1
