"""Log-mel features of short clips of speech at 8 kHz, as command models read them.

S. Davis, P. Mermelstein, Comparison of parametric representations for monosyllabic word recognition, 1980, without the
cosine transform.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dtc.forms import Array

RATE = 8000
BANDS = 40
WINDOW, HOP = 256, 160
"""Samples of a frame, and between the beginnings of two: 32 and 20 ms."""

_FLOOR = 1e-6
"""Power below which all is silence."""


def log_mel(samples: Array) -> Array:
    """Return the features of a clip, float32 `[frames, 40]`, with mean 0 and deviation 1; samples are in -1..1.

    A clip shorter than a frame is one frame, filled up with silence.
    """
    filled = np.pad(samples, (0, max(0, WINDOW - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(filled, WINDOW)[::HOP] * np.hanning(WINDOW)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    logs = np.log(power @ _FILTERS.T + _FLOOR)
    # A clip by itself: how loud it was spoken, and how far from the microphone, says nothing about the word.
    return np.asarray((logs - logs.mean()) / max(float(logs.std()), _FLOOR), np.float32)


def _mel(hertz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return 2595 * np.log10(1 + hertz / 700)


def _filters() -> npt.NDArray[np.float64]:
    """Return triangles over the frequencies of a transform, evenly wide in mel, `[40, 129]`."""
    places = _mel(np.linspace(0, RATE / 2, WINDOW // 2 + 1))
    corners = np.linspace(0, places[-1], BANDS + 2)
    # Filter i rises from corner i to corner i + 1 and falls to corner i + 2; in mel all sides are equally long.
    distance = np.abs(places[None] - corners[1:-1, None]) / (corners[1] - corners[0])
    return np.asarray(np.maximum(0, 1 - distance), np.float64)


_FILTERS = _filters()
