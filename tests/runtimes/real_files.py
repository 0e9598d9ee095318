"""Which real models are written in which forms, and tried elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dtc.checking.elsewhere import Expected

MODELS: Mapping[str, Mapping[str, Any]] = {
    "ptb_rnnlm_lstm100_derived": {},
    "resnet20_cifar10_derived": {},
    "mnist-8": {},
    "silero_vad_v5": {"sr": np.array(16000)},
}
"""Real models, and inputs that are held."""

FORMS: Mapping[str, Mapping[str, Any]] = {
    "svd": {"rank_ratio": 0.3},
    "prune": {"sparsity": 0.9},
    "binary": {"bits": 2},
    "codebook": {"codewords": 16, "block": 1},
    "uniform": {"bits": 4},
}

Told = tuple[Expected, Sequence[Mapping[str, Any]]]
"""What ONNX Runtime computes of a file, and of which inputs."""
