"""Random numbers of a training step, which its seed alone decides, whatever engine takes the step."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def draw_mask(shape: tuple[int, ...], ratio: float, seed: int, index: int) -> npt.NDArray[np.float32]:
    """Return 0 with probability `ratio`, else 1 / (1 - ratio); the same for the same seed and index."""
    # The seed is of the step, the index of the Dropout in it: two layers of one shape have different masks.
    random = np.random.Generator(np.random.SFC64([seed, index]))
    kept = random.random(shape, dtype=np.float32) >= ratio
    return np.multiply(kept, np.float32(1 / (1 - ratio)) if ratio < 1 else np.float32(0), dtype=np.float32)


def step_seed(seed: int, step: int) -> int:
    """Return the seed of one step, which depends on no earlier step: a resumed run draws the same numbers."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1)[0])
