"""The native kernels against the functions' bodies, both run by ONNX Runtime, and against the weight in double."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from native_cases import EXACT, Array, Case, binary, bitmap, codebook, csr, model_of, with_input
from needed import lacking
from running import checked_bytes

from dtc.deploy.ops.library import library_path, register
from dtc.training.engines.ort.install import install

KINDS = ("MatMul", "Gather", "Dequantize")

sizes = st.one_of(st.sampled_from([1, 7, 8, 9, 31, 32, 33, 63, 64, 65, 130, 257]), st.integers(1, 100))
batches = st.one_of(st.tuples(st.integers(0, 40)), st.lists(st.integers(0, 4), max_size=3).map(tuple))
kinds = st.sampled_from(KINDS)
seeds = st.integers(0, 10_000)
few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(autouse=True, scope="session")
def library() -> Path:
    """The native library; in CI a missing one is a failure."""
    path = library_path()
    if path is None:
        lacking("the native library of the operators is not built")
    return path


def session_of(model: ir.Model, *, native: bool, threads: int = 1) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    if native:
        assert register(options)
    return ort.InferenceSession(checked_bytes(model), options, providers=["CPUExecutionProvider"])


def run(case: Case, *, native: bool, constant: Sequence[str] | None = None) -> Array:
    held = case.arrays if constant is None else constant
    fed = {name: array for name, array in case.feeds.items() if name not in held}
    found: Array = session_of(model_of(case, constant=constant), native=native).run(None, fed)[0]
    return found


def check(case: Case) -> None:
    """Weights known when the session is made, weights that are not, and some that are and some that are not."""
    held = run(case, native=True)
    if empty_inside(case):
        assert held.shape == case.expected().shape
    else:
        body = run(case, native=False)
        assert case.distance(body, case.expected()) <= EXACT
        assert case.distance(held, body) <= case.tolerance, case
    for constant in ([], list(case.arrays)[:1]):
        assert run(case, native=True, constant=constant).tobytes() == held.tobytes()


def empty_inside(case: Case) -> bool:
    """Whether a leading dimension but the first is 0, which Reshape before opset 14, as in bodies, cannot say."""
    return any(0 in array.shape[1:-1] or (name == "ids" and 0 in array.shape[1:]) for name, array in case.given.items())


@few
@given(
    sizes,
    sizes,
    kinds,
    batches,
    st.integers(1, 8),
    st.sampled_from([0, 8, 24, 64]),
    st.tuples(*[st.booleans()] * 3),
    st.sampled_from([0, 1, 4, None]),
    seeds,
)
@example(33, 1030, "MatMul", (20,), 3, 128, (True, True, True), 1, 0)
@example(100, 513, "MatMul", (7,), 8, 0, (False, True, False), 4, 0)
def test_binary_codes(
    rows: int, cols: int, kind: str, batch: Any, bits: int, group: int, flags: Any, level: Any, seed: int
):
    masked, constant, half = flags
    bits = min(bits, 7) if masked else bits
    case = binary(
        rows,
        cols,
        kind=kind,
        bits=bits,
        group=group,
        masked=masked,
        constant=constant,
        half=half,
        level=level,
        seed=seed,
    )
    check(with_input(case, kind, batch, seed))


@few
@given(
    sizes,
    sizes,
    kinds,
    batches,
    st.sampled_from([0.0, 0.05, 0.2, 1.0]),
    st.booleans(),
    st.sampled_from(["", "uint16", "uint32"]),
    st.sampled_from(["", "uint16", "uint32"]),
    seeds,
)
@example(40, 1030, "MatMul", (20,), 0.2, False, "", "", 0)
@example(40, 1030, "MatMul", (3,), 0.2, True, "uint32", "", 0)
def test_compressed_sparse_rows(
    rows: int, cols: int, kind: str, batch: Any, kept: float, half: bool, columns: str, pointers: str, seed: int
):
    case = csr(rows, cols, kept=kept, half=half, columns=columns, pointers=pointers, seed=seed)
    check(with_input(case, kind, batch, seed))


@few
@given(sizes, sizes, kinds, batches, st.sampled_from([0.0, 0.05, 0.2, 1.0]), st.booleans(), seeds)
@example(40, 1030, "MatMul", (20,), 0.2, True, 0)
def test_bitmaps(rows: int, cols: int, kind: str, batch: Any, kept: float, half: bool, seed: int):
    check(with_input(bitmap(rows, cols, kept=kept, half=half, seed=seed), kind, batch, seed))


@few
@given(
    sizes,
    sizes,
    kinds,
    batches,
    st.sampled_from([1, 2, 4, 8]),
    st.sampled_from([1, 2, 3, 4, 5, 8, 9, 16]),
    st.booleans(),
    st.sampled_from([0, 1, 4, None]),
    seeds,
)
@example(40, 1030, "MatMul", (20,), 4, 1, False, 4, 0)
@example(40, 1030, "MatMul", (20,), 8, 8, True, 1, 0)
@example(70, 1030, "MatMul", (), 8, 4, True, 1, 0)
def test_codebooks(
    rows: int, cols: int, kind: str, batch: Any, bits: int, block: int, short: bool, level: Any, seed: int
):
    count = max(1, 2**bits - 1) if short else 2**bits
    level = level if kind == "MatMul" else None
    case = codebook(rows, cols, bits=bits, block=block, count=count, level=level, seed=seed)
    check(with_input(case, kind, batch, seed))


def core() -> list[Case]:
    """A few cases of every operator, level and element type, for the places where there is not the time for many."""
    cases = []
    for seed, (rows, cols) in enumerate([(1, 1), (33, 70), (130, 257), (70, 1030)]):
        for kind, batch in (
            ("MatMul", (1,)),
            ("MatMul", (20,)),
            ("MatMul", ()),
            ("MatMul", (0,)),
            ("Gather", (3, 2)),
            ("Dequantize", ()),
        ):
            for level in (0, 1, 4):
                case = binary(
                    rows,
                    cols,
                    kind=kind,
                    bits=1 + seed,
                    group=(0, 64)[seed % 2],
                    masked=seed > 1,
                    constant=seed == 2,
                    half=seed == 3,
                    level=level,
                    seed=seed,
                )
                cases.append(with_input(case, kind, batch, seed))
            sparse = [csr(rows, cols, half=seed == 1), csr(rows, cols, columns="uint32", pointers="uint32")]
            sparse += [bitmap(rows, cols, half=seed == 2)]
            words = [codebook(rows, cols, bits=bits, block=block) for bits, block in ((1, 1), (2, 3), (4, 1), (8, 8))]
            cases += [with_input(case, kind, batch, seed) for case in sparse + words]
    return cases


ELSEWHERE = """
import json, sys
folder, first, library = sys.argv[1:]
if first:
    sys.path.insert(0, first)
    sys.modules["onnxruntime.training"] = None  # it would import PyTorch
import numpy as np, onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads = 1
options.register_custom_ops_library(library)
for number in range(len(json.load(open(folder + "/operators.json")))):
    feeds = dict(np.load(f"{folder}/{number}.npz"))
    session = ort.InferenceSession(f"{folder}/{number}.onnx", options, providers=["CPUExecutionProvider"])
    np.save(f"{folder}/{number}.found.npy", session.run(None, feeds)[0])
print(json.dumps(ort.__version__))
"""


@pytest.mark.parametrize("where", ["scalar", "avx2", "1.19.2"])
def test_other_instructions_and_an_older_runtime(library: Path, tmp_path: Path, where: str):
    cases = core()
    (tmp_path / "operators.json").write_text(json.dumps([case.operator for case in cases]))
    for number, case in enumerate(cases):
        constant = list(case.arrays) if number % 3 else []
        ir.save(model_of(case, constant=constant), tmp_path / f"{number}.onnx")
        np.savez(tmp_path / f"{number}.npz", **{k: v for k, v in case.feeds.items() if k not in constant})
    older = where == "1.19.2"
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, tmp_path, str(install()) if older else "", library],
        env=os.environ | ({} if older else {"DTC_OPS_ISA": where}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == (where if older else ort.__version__)
    for number, case in enumerate(cases):
        far = case.distance(np.load(tmp_path / f"{number}.found.npy"), case.expected())
        assert far <= case.tolerance, (case.operator, case.attributes, case.dense.shape, far)


EVERY_OPERATOR = [
    *(with_input(binary(33, 70, kind=kind), kind, (2, 3)) for kind in KINDS),
    *(with_input(make(33, 70), kind, (2, 3)) for kind in KINDS for make in (csr, bitmap, codebook)),
]


@pytest.mark.parametrize("case", EVERY_OPERATOR, ids=lambda case: case.operator)
def test_shapes_of_outputs_are_known_before_a_run(case: Case):
    """Of a model whose batch has a name and whose output says nothing."""
    leading = ["batch", 3]
    dims = {"x": [*leading, 70], "ids": leading}
    found = session_of(model_of(case, dims=dims), native=True).get_outputs()[0].shape
    last = {"x": 33, "ids": 70}
    assert found == ([*leading, last[next(iter(case.given))]] if case.given else [33, 70])


@pytest.mark.parametrize("case", EVERY_OPERATOR, ids=lambda case: case.operator)
def test_a_shape_that_is_not_known_is_not_told(case: Case):
    session = session_of(model_of(case, constant=[]), native=True)
    assert not any(isinstance(dim, int) for dim in session.get_outputs()[0].shape[:-1])
    assert session.run(None, case.feeds)[0].shape == case.expected().shape


LARGE = [
    with_input(make, "MatMul", (batch,))
    for batch in (1, 9)
    for make in (
        *(binary(1100, 520, kind="MatMul", masked=True, level=level) for level in (0, 1, 4)),
        csr(1100, 1030),
        bitmap(1100, 1030),
        codebook(1100, 520),
    )
]


@pytest.mark.parametrize("case", LARGE, ids=lambda case: case.operator)
def test_threads_change_nothing(case: Case):
    """Neither the threads of a session, nor several runs of one session at once."""
    one, two = (session_of(model_of(case), native=True, threads=threads) for threads in (1, 2))
    wanted = one.run(None, case.given)[0]
    assert case.distance(wanted, case.expected()) <= case.tolerance
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: two.run(None, case.given)[0], range(12)):
            assert found.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize(
    "case", [case for case in LARGE if case.given["x"].shape[0] > 1], ids=lambda case: case.operator
)
def test_what_is_not_finite_stays_in_its_row_of_the_batch(case: Case, bad: float):
    session = session_of(model_of(case), native=True)
    wanted = session.run(None, case.given)[0]
    x = case.given["x"].copy()
    x[1, 5] = bad
    found = session.run(None, {"x": x})[0]
    others = np.arange(len(x)) != 1
    np.testing.assert_array_equal(found[others], wanted[others])
    if not np.isfinite(bad):
        assert not np.isfinite(found[1][case.dense[:, 5] != 0]).any()
