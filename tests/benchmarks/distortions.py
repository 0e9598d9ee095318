"""Time of each distortion of a 1500 x 6000 matrix beside the plain way: `python tests/benchmarks/distortions.py`.

Best of `--repeat`, in one process. The plain ways: LAPACK's SVD, a full sort, coding row by row in NumPy, and
scikit-learn's KMeans (`--sklearn`; it takes a minute).

With `--large 4096x11008` a matrix of that size with heavy-tailed rows is distorted once by every method that needs no
data: processor time, megabytes of float32 a second, memory beside the matrix in times its size, and the error.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy

from dtc.passes.compose import make_methods
from dtc.passes.method import Weights, make_method

SHAPE = (1500, 6000)


def best(call: Callable[[], object], repeat: int) -> float:
    """Return the least seconds of a call."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def plain_svd(matrix: np.ndarray) -> None:
    """The whole decomposition, cut at rank 96."""
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    (left[:, :96] * values[:96]) @ right[:96]


def plain_prune(matrix: np.ndarray) -> None:
    """A stable sort of all magnitudes."""
    flat = matrix.ravel().copy()
    flat[np.argsort(np.abs(flat), kind="stable")[: round(0.9 * flat.size)]] = 0


def plain_binary(matrix: np.ndarray) -> None:
    """Xu et al., algorithm 2, one row after the other."""
    for row in matrix:
        planes = np.empty((3, row.size), np.float32)
        rest = row.copy()
        for index in range(3):
            planes[index] = np.where(rest >= 0, 1, -1)
            rest -= planes[index] * np.abs(rest).mean()
        for _ in range(2):
            alphas = np.sort(np.abs(np.linalg.lstsq(planes @ planes.T, planes @ row, rcond=None)[0]))[::-1]
            signs = np.array([[1 if code >> bit & 1 else -1 for bit in (2, 1, 0)] for code in range(8)])
            values = signs @ alphas
            order = np.argsort(values)
            middles = (values[order][1:] + values[order][:-1]) / 2
            planes = signs[order][np.searchsorted(middles, row)].T.astype(np.float32)


def plain_kmeans(matrix: np.ndarray) -> None:
    """scikit-learn, one start, at most 100 iterations."""
    from sklearn.cluster import KMeans

    KMeans(256, n_init=1, max_iter=100, random_state=0).fit(matrix.reshape(-1, 8))


LARGE: list[tuple[str, dict[str, Any]]] = [
    ("prune", {"sparsity": 0.9}),
    ("prune", {"pattern": "2:4"}),
    ("uniform", {"bits": 4}),
    ("uniform", {"bits": 8}),
    ("uniform", {"bits": 4, "group_size": 128}),
    ("svd", {"rank": 64}),
    ("svd", {"rank": 256}),
    ("svd", {"rank_ratio": 0.1}),
    ("svd", {"energy": 0.5}),
    ("binary", {"bits": 1}),
    ("binary", {"bits": 2}),
    ("binary", {"bits": 3}),
    ("binary", {"bits": 4}),
    ("codebook", {"codewords": 16, "block": 1}),
    ("codebook", {"codewords": 256}),
    ("bins", {"bins": 16}),
    ("prune+binary", {"sparsity": 0.8, "bits": 2}),
    ("prune+codebook", {"sparsity": 0.8, "codewords": 16, "block": 1}),
    ("prune+svd", {"sparsity": 0.95, "rank": 64}),
    ("svd+binary", {"rank": 256, "bits": 2}),
]


def large(rows: int, cols: int) -> None:
    """Print a row for each method on one large matrix."""
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((rows, cols), dtype=np.float32)
    matrix *= (rng.lognormal(0, 0.5, (rows, 1)) / cols**0.5).astype(np.float32)
    energy = float(np.square(matrix, dtype=np.float64).sum())
    print(f"| {rows} x {cols} | CPU, s | MB/s | memory | error |\n| --- | ---: | ---: | ---: | ---: |")
    for name, options in LARGE:
        method, before = make_methods(name, options), _resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
        start = time.process_time()
        (form,) = method.distort([Weights("w", matrix[None], "node")])["w"]
        took, peak = time.process_time() - start, _resident("VmHWM") - before
        wrong = sum(
            float(np.square(form.rows(at, at + 256).dense() - matrix[at : at + 256], dtype=np.float64).sum())
            for at in range(0, rows, 256)
        )
        words = f"{name} {' '.join(f'--{key} {value}' for key, value in options.items())}".replace("_", "-")
        rate, times = matrix.nbytes / 1e6 / took, peak / matrix.nbytes
        print(f"| {words} | {took:.2f} | {rate:.1f} | {times:.1f} | {wrong / energy:.5f} |", flush=True)
        del form


def _resident(field: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition(f"{field}:")[2].split()[0]) * 1024


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--sklearn", action="store_true", help="run scikit-learn's k-means as well")
    parser.add_argument("--large", help="rows x columns, such as 4096x11008")
    given = parser.parse_args()
    if given.large:
        large(*map(int, given.large.split("x")))
        print(f"\n{_versions()}")
        return
    matrix = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    weights = Weights("w", matrix[None], "node")
    rows = [
        ("svd, rank 96", "svd", {"rank": 96}, plain_svd),
        ("prune 90 %", "prune", {"sparsity": 0.9}, plain_prune),
        ("binary, 3 bits, alternating", "binary", {"bits": 3, "solver": "alternating"}, plain_binary),
        ("codebook 256 x 8", "codebook", {"codewords": 256, "block": 8}, plain_kmeans if given.sklearn else None),
    ]
    print("| 1500 x 6000 | dtc, s | plain, s | ratio |\n| --- | ---: | ---: | ---: |")
    for line, name, options, plain in rows:
        method = make_method(name, options)
        ours = best(lambda method=method: method.distort([weights]), given.repeat)
        theirs = best(lambda plain=plain: plain(matrix), 1) if plain else float("nan")
        print(f"| {line} | {ours:.2f} | {theirs:.2f} | {theirs / ours:.1f}x |", flush=True)
    print(f"\n{_versions()}")


def _versions() -> str:
    versions = f"Python {sys.version.split()[0]}, NumPy {np.__version__}, SciPy {scipy.__version__}"
    return f"{platform.processor() or platform.machine()}, {versions}"


if __name__ == "__main__":
    main()
