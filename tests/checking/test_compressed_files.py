"""What is written is held to the file that the user gave."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
from check_graphs import HEAD, random, weight, written

Dtc = Callable[..., tuple[int, str, str]]
Case = Callable[[str], Path]
W = weight(64, 48)
CODEBOOK = ("-m", "codebook", "--codewords", 256, "--block", 1, "--seconds", 0)
SVD = ("-m", "svd", "--rank-ratio", 0.5, "--seconds", 0)
METHODS = {
    "svd": SVD,
    "codebook": CODEBOOK,
    "uniform": ("-m", "uniform", "--bits", 8, "--seconds", 0),
    "binary": ("-m", "binary", "--bits", 2, "--seconds", 0),
    "prune": ("-m", "prune", "--sparsity", 0.8, "--seconds", 0),
}


def outputs(path: Path, **feed: np.ndarray) -> list[np.ndarray]:
    return ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, feed)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("name", "feeds"),
    [
        ("log_resize10", [{}]),
        ("if_rate_resize10", [{"sr": np.array(8000)}, {"sr": np.array(16000)}]),
    ],
)
def test_what_is_written_is_right_or_nothing_is(
    dtc: Dtc, case: Case, tmp_path: Path, name: str, feeds: list[dict[str, np.ndarray]]
) -> None:
    source, output = case(name), tmp_path / "o.onnx"
    status, _, err = dtc("compress", source, *CODEBOOK, "-o", output)
    if status:
        assert "not written, as it would be wrong" in err
        assert not output.exists()
        return
    x = np.random.default_rng(0).uniform(0.5, 2, (1, 8, 6, 6)).astype(np.float32)
    for feed in feeds:
        wanted, found = outputs(source, x=x, **feed)[0], outputs(output, x=x, **feed)[0]
        assert np.linalg.norm(found - wanted) < 0.02 * np.linalg.norm(wanted)


@pytest.mark.parametrize("name", ["random_op", "seq_output", "string_passthrough", "dt_fp16"])
@pytest.mark.parametrize("method", ["svd", "binary"])
def test_what_could_not_be_compared_is_compressed(dtc: Dtc, case: Case, tmp_path: Path, name: str, method: str) -> None:
    status, out, err = dtc("compress", case(name), *METHODS[method], "-o", tmp_path / "o.onnx")
    assert (status, err) == (0, "")
    assert "not judged: no limit was asked for" in out
    assert "relative L2" in out
    assert "agreement" in out


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize(
    ("number", "told"),
    [(np.nan, "holds NaN"), (np.inf, "holds an infinite number"), (-1e20, "holds numbers up to 1.0e+20")],
)
def test_weights_that_hold_no_number_are_left_alone_by_all(
    dtc: Dtc, tmp_path: Path, method: tuple[object, ...], number: float, told: str
) -> None:
    broken = W.copy()
    broken[0, 0] = number
    text = HEAD + "(float[N, 64] x) => (float[N, 48] y, float[N, 48] z) { y = MatMul (x, W) z = MatMul (x, V) }"
    path = written(tmp_path, text, W=broken, V=W)
    status, out, err = dtc("compress", path, *method, "-o", tmp_path / "o.onnx")
    assert (status, err) == (0, "")
    assert told in " ".join(out.split())


def test_what_cannot_run_is_said_first(dtc: Dtc, tmp_path: Path) -> None:
    head = '<ir_version: 8, opset_import: ["": 17, "my.custom": 1]> g '
    text = head + "(float[N, 64] x) => (float[N, 48] y) { h = MatMul (x, W) y = my.custom.MyOp (h) }"
    path = written(tmp_path, text, W=W)
    status, _, err = dtc("compress", path, *SVD, "-o", tmp_path / "o.onnx")
    assert status == 2
    assert err.startswith(f"dtc: error: {path}: ONNX Runtime")
    assert "MyOp" in err
    assert [each.name for each in tmp_path.iterdir()] == ["m.onnx"]


def test_what_gives_no_number_is_not_written(dtc: Dtc, tmp_path: Path) -> None:
    text = random("l = Sub (x, f) m = Log (l) y = MatMul (m, W)")
    path = written(tmp_path, text, W=W, f=np.array(500, np.float32))
    status, _, err = dtc("compress", path, *SVD, "-o", tmp_path / "o.onnx")
    assert status == 1
    assert "nothing could be compared" in err
    assert "(--data or --input)" in err
    np.savez(tmp_path / "d.npz", x=np.random.default_rng(0).uniform(600, 700, (4, 64)).astype(np.float32))
    status, _, err = dtc("compress", path, *SVD, "-o", tmp_path / "o.onnx", "--data", tmp_path / "d.npz")
    assert (status, err) == (0, "")


HALVES = {
    "float16 behind a Cast": ("w = Cast <to = 1> (H) y = MatMul (x, w)", ir.DataType.FLOAT16, "float[N, 64] x"),
    "bfloat16 behind a Cast": ("w = Cast <to = 1> (H) y = MatMul (x, w)", ir.DataType.BFLOAT16, "float[N, 64] x"),
    "float16 embedding": ("e = Gather (H, x) y = Cast <to = 1> (e)", ir.DataType.FLOAT16, "int64[N] x"),
}


@pytest.mark.parametrize(("body", "dtype", "given"), HALVES.values(), ids=HALVES)
def test_limits_follow_the_type_of_a_weight(
    dtc: Dtc, tmp_path: Path, body: str, dtype: ir.DataType, given: str
) -> None:
    path = written(tmp_path, HEAD + f"({given}) => (float[N, 48] y) {{ {body} }}", H=W.astype(dtype.numpy()))
    status, out, err = dtc("compress", path, *SVD, "-o", tmp_path / "o.onnx", "--allow-growth")
    assert (status, err) == (0, "")
    assert "low_rank" in out


NUMBERS = ", ".join(f"{each:.3f}" for each in weight(64 * 48))


@pytest.mark.parametrize(
    "body",
    [
        "t = Transpose <perm = [1, 0]> (T) y = MatMul (x, t)",
        f"w = Constant <value = float[64, 48] {{{NUMBERS}}}> () y = MatMul (x, w)",
    ],
    ids=["computed", "a Constant"],
)
def test_weights_that_lie_in_no_initializer_are_found_in_the_file(dtc: Dtc, tmp_path: Path, body: str) -> None:
    path = written(tmp_path, random(body), T=np.ascontiguousarray(W.T))
    status, out, err = dtc("compress", path, "-m", "uniform", "--bits", 4, "--seconds", 0, "-o", tmp_path / "o.onnx")
    assert (status, err) == (0, "")
    assert "left alone" not in out


def test_a_stage_that_changes_the_graph_is_seen(dtc: Dtc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference is the user's file, so that no stage can change both sides alike."""
    from dtc.pipeline import writing

    def with_another_node(model: object) -> None:
        relu = next(node for node in model.graph if node.op_type == "Relu")  # type: ignore[attr-defined]
        relu.op_type = "Neg"

    monkeypatch.setattr(writing, "strip_training", with_another_node)
    path = written(tmp_path, random("r = Relu (x) y = MatMul (r, W)"), W=W)
    status, _, err = dtc("compress", path, *SVD, "-o", tmp_path / "o.onnx")
    assert status == 1
    assert "not written, as it would be wrong: output 'y' differs by" in err
    assert not (tmp_path / "o.onnx").exists()


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_the_case_with_nan(dtc: Dtc, case: Case, tmp_path: Path, method: tuple[object, ...]) -> None:
    status, out, err = dtc("compress", case("nan_weight"), *method, "-o", tmp_path / "o.onnx")
    assert (status, err) == (0, "")
    assert "holds NaN" in out


def test_the_case_of_an_unknown_domain_names_the_users_file(dtc: Dtc, case: Case, tmp_path: Path) -> None:
    source = case("ms_unknown_domain")
    status, _, err = dtc("compress", source, *SVD, "-o", tmp_path / "o.onnx")
    assert status == 2
    assert err.startswith(f"dtc: error: {source}: ONNX Runtime")
    assert "my.custom:MyOp" in err
