"""Fourier transforms and windows. A complex number is the last axis, of its real and its imaginary part."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dtc.training.engines.torch.calls import Call, integers_of, operator
from dtc.training.engines.torch.dtypes import dtype_of

_WINDOWS = {
    "HannWindow": (0.5, 0.5, 0.0),
    "HammingWindow": (25 / 46, 21 / 46, 0.0),
    "BlackmanWindow": (0.42, 0.5, 0.08),
}


@operator(*_WINDOWS, differentiable=False, numbers=(0,))
def _window(call: Call, size: Tensor) -> Tensor:
    count = integers_of(size)[0]
    period = count if call.integer("periodic", 1) else count - 1
    angle = 2 * math.pi * torch.arange(count, dtype=torch.float64) / max(period, 1)
    a, b, c = _WINDOWS[call.node.op_type]
    window = a - b * torch.cos(angle) + c * torch.cos(2 * angle)
    return window.to(dtype_of(call.integer("output_datatype", 1)))


@operator("DFT", numbers=(1, 2))
def _fourier(call: Call, x: Tensor, length: Tensor | None = None, place: Tensor | None = None) -> Tensor:
    axis = call.integer("axis", 1) if call.version < 20 else -2 if place is None else integers_of(place)[0]
    axis = axis + x.dim() if axis < 0 else axis
    backwards, half = bool(call.integer("inverse")), bool(call.integer("onesided"))
    size = x.shape[axis] if length is None else integers_of(length)[0]
    if backwards and half:
        spectrum = torch.fft.irfft(
            torch.view_as_complex(x.contiguous()), integers_of(length)[0] if length is not None else None, axis
        )
        return spectrum.unsqueeze(-1)
    numbers = (
        torch.view_as_complex(x.contiguous())
        if x.shape[-1] == 2
        else torch.complex(x[..., 0], torch.zeros_like(x[..., 0]))
    )
    found = (torch.fft.ifft if backwards else torch.fft.fft)(numbers, size, axis)
    if half:
        found = found.narrow(axis, 0, size // 2 + 1)
    return torch.view_as_real(found)


@operator("STFT", numbers=(1, 3))
def _short_fourier(
    call: Call, x: Tensor, step: Tensor, window: Tensor | None = None, length: Tensor | None = None
) -> Tensor:
    width = integers_of(length)[0] if length is not None else len(window) if window is not None else x.shape[1]
    signal = x.squeeze(-1) if x.dim() == 3 and x.shape[-1] == 1 else x
    if signal.dim() == 3:
        signal = torch.view_as_complex(signal.contiguous())
    frames = signal.unfold(1, width, integers_of(step)[0])
    frames = frames if window is None else frames * window
    half = bool(call.integer("onesided", 1))
    spectrum = torch.fft.rfft(frames) if half and not frames.is_complex() else torch.fft.fft(frames)
    return torch.view_as_real(spectrum)
