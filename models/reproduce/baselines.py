"""ONNX Runtime's own quantizers, to stand beside the methods of dtc."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

Feeds: TypeAlias = Iterable[Mapping[str, npt.NDArray[np.generic]]]

Quantizer: TypeAlias = Callable[[Path, Path, Feeds], None]
"""Writes a quantized copy of the model at the first path to the second; may read inputs of the model."""


class _CalibrationReader(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime has no types
    """Inputs one after the other, as ONNX Runtime asks for them."""

    def __init__(self, feeds: Feeds) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> dict[str, npt.NDArray[np.generic]] | None:
        """Return the next inputs, None at the end."""
        feed = next(self._feeds, None)
        return None if feed is None else dict(feed)


def static(model: Path, output: Path, feeds: Feeds) -> None:
    """Quantize weights and activations to 8 bits, QuantizeLinear and DequantizeLinear in pairs, a scale a channel."""
    quantize_static(
        model,
        output,
        _CalibrationReader(feeds),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        weight_type=QuantType.QInt8,
        activation_type=QuantType.QInt8,
    )


def dynamic(model: Path, output: Path, _: Feeds) -> None:
    """Quantize weights to 8 bits; activations are quantized while the model runs."""
    quantize_dynamic(model, output, weight_type=QuantType.QUInt8)


def blockwise(bits: int, *, operators: tuple[str, ...]) -> Quantizer:
    """Return the quantizer of weights in blocks of 32 a scale, for MatMulNBits and GatherBlockQuantized."""

    def quantize(model: Path, output: Path, _: Feeds) -> None:
        quantizer = MatMulNBitsQuantizer(
            onnx.load(model), bits=bits, block_size=32, is_symmetric=True, op_types_to_quantize=operators
        )
        quantizer.process()
        quantizer.model.save_model_to_file(str(output))

    return quantize


QUANTIZERS: dict[str, Quantizer] = {
    "ONNX Runtime static int8, QDQ per channel": static,
    "ONNX Runtime dynamic int8": dynamic,
    "ONNX Runtime MatMulNBits 4, Gather too, blocks of 32": blockwise(4, operators=("MatMul", "Gather")),
    "ONNX Runtime MatMulNBits 8, blocks of 32": blockwise(8, operators=("MatMul",)),
}
NEEDS_SAMPLES = "ONNX Runtime static int8, QDQ per channel"
