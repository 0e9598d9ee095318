"""The forms in which the benchmarks of bundles deploy a model: a method each, with its options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FORMS: Mapping[str, Mapping[str, Any]] = {
    "svd": {"rank_ratio": 0.3},
    "prune": {"sparsity": 0.9},
    "binary": {"bits": 2},
    "codebook": {"codewords": 16, "block": 1},
}
