"""Log-mel features: a tone lies in its band, loudness does not matter, short clips are a frame."""

from __future__ import annotations

import numpy as np

from dtc.models.speech_features import BANDS, HOP, RATE, WINDOW, log_mel


def test_a_tone_is_in_the_band_of_its_frequency() -> None:
    time = np.arange(RATE) / RATE
    bands = [
        int(log_mel(np.sin(2 * np.pi * hertz * time).astype(np.float32)).mean(axis=0).argmax())
        for hertz in (300, 1000, 3000)
    ]
    assert bands == sorted(set(bands))
    # A band is a 41st of the mel scale up to 4,000 Hz wide.
    mel = [2595 * np.log10(1 + hertz / 700) for hertz in (300, 1000, 3000, 4000)]
    expected = [41 * each / mel[-1] - 1 for each in mel[:3]]
    np.testing.assert_allclose(bands, expected, atol=1)


def test_loudness_does_not_matter_and_frames_are_counted() -> None:
    clip = np.random.default_rng(0).normal(size=WINDOW + 4 * HOP).astype(np.float32)
    quiet, loud = log_mel(clip * 0.1), log_mel(clip)
    assert loud.shape == (5, BANDS)
    np.testing.assert_allclose(quiet, loud, atol=1e-3)
    assert log_mel(clip[:10]).shape == (1, BANDS)
    assert np.isfinite(log_mel(np.zeros(4000, np.float32))).all()
