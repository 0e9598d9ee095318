"""Time of each distortion of a 1500 x 6000 matrix beside the plain way: `python tests/benchmarks/distortions.py`.

Best of `--repeat`, in one process. The plain ways: LAPACK's SVD, a full sort, coding row by row in NumPy, and
scikit-learn's KMeans (`--sklearn`; it takes a minute).
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Callable

import numpy as np
import scipy

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


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--sklearn", action="store_true", help="run scikit-learn's k-means as well")
    given = parser.parse_args()
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
    versions = f"Python {sys.version.split()[0]}, NumPy {np.__version__}, SciPy {scipy.__version__}"
    print(f"\n{platform.processor() or platform.machine()}, {versions}")


if __name__ == "__main__":
    main()
