"""A file that dtc wrote, given to dtc again: what is left is compressed, and what was coded is said to be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

Dtc = Callable[..., tuple[int, str, str]]

METHODS = {
    "uniform": ("-m", "uniform", "--bits", 4),
    "prune": ("-m", "prune", "--sparsity", 0.8),
    "codebook": ("-m", "codebook", "--codewords", 16, "--block", 2),
    "svd+binary": ("-m", "svd+binary", "--rank-ratio", 0.3, "--bits", 2),
}
BINARY = ("-m", "binary", "--bits", 2, "--seconds", 0)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    proto = parser.parse_model("""<ir_version: 8, opset_import: ["": 17]>
    m (float[2, 64] x, int64[3] i, float[3, 2, 32] s) => (float[2, 64] y, float[3, 32] e, float[3, 1, 2, 16] l) {
        h = MatMul(x, W)  y = MatMul(h, V)  e = Gather(T, i)  l, n = LSTM<hidden_size = 16>(s, LW, LR) }""")
    rng = np.random.default_rng(0)
    shapes = {"W": (64, 96), "V": (96, 64), "T": (200, 32), "LW": (1, 64, 32), "LR": (1, 64, 16)}
    for name, shape in shapes.items():
        proto.graph.initializer.append(numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name))
    onnx.save(proto, tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


CHOICES = [("prune", "compute"), ("svd+binary", "compute"), ("uniform", "standard"), ("codebook", "storage")]


@pytest.mark.parametrize(("method", "lower"), CHOICES)
def test_coded_weights_are_refused_by_name(dtc: Dtc, model: Path, tmp_path: Path, method: str, lower: str) -> None:
    first = tmp_path / "first.onnx"
    status, _, err = dtc("compress", model, *METHODS[method], "--lower", lower, "-o", first, "--seconds", 0)
    assert status == 0, err
    status, _, err = dtc("compress", first, *BINARY, "-o", tmp_path / "second.onnx")
    assert status == 2
    assert "was compressed by dtc already: the weights of 'MatMul_h" in err
    assert "quantized" not in err


def test_what_one_pass_left_the_next_one_takes(dtc: Dtc, model: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.onnx", tmp_path / "second.onnx"
    status, _, err = dtc("compress", model, *METHODS["uniform"], "--include", "W", "-o", first, "--seconds", 0)
    assert status == 0, err
    status, out, err = dtc("compress", first, *BINARY, "-o", second)
    assert status == 0, err
    assert "was compressed by dtc already: the weights of 'MatMul_h'; these are left as they are" in " ".join(
        out.split()
    )
    assert second.stat().st_size < first.stat().st_size / 2


@pytest.mark.parametrize("lower", ["compute", "storage"])
def test_the_factors_of_a_low_rank_weight_are_weights(dtc: Dtc, model: Path, tmp_path: Path, lower: str) -> None:
    first, second = tmp_path / "first.onnx", tmp_path / "second.onnx"
    told = ("--lower", lower, "--seconds", 0)
    status, _, err = dtc("compress", model, "-m", "svd", "--rank-ratio", 0.3, *told, "-o", first)
    assert status == 0, err
    status, _, err = dtc("compress", first, *BINARY, "--lower", lower, "-o", second)
    assert status == 0, err
    assert second.stat().st_size < first.stat().st_size / 2
