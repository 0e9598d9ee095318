"""The scale of every quantizer of activations in one initializer."""

from __future__ import annotations

import onnx_ir as ir

from dtc.graph import share_scales


class OwnScalesPass(ir.passes.InPlacePass):
    """Make equal scales of QuantizeLinear and its DequantizeLinear the same initializer.

    Exporters write one for each reader; as two parameters they would drift apart in training.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Share the scales of the main graph."""
        return ir.passes.PassResult(model, modified=share_scales(model.graph))
