"""The losses that are operators of ONNX."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dtc.training.engines.torch.calls import Call, operator


@operator("SoftmaxCrossEntropyLoss")
def _cross_entropy(
    call: Call, scores: Tensor, labels: Tensor, weight: Tensor | None = None
) -> Tensor | tuple[Tensor, Tensor]:
    log_p = torch.log_softmax(scores, 1)
    loss = _negative_log_likelihood(call, log_p, labels, weight)
    return (loss, log_p) if call.wants(1) else loss


@operator("NegativeLogLikelihoodLoss")
def _negative_log_likelihood(call: Call, log_p: Tensor, labels: Tensor, weight: Tensor | None = None) -> Tensor:
    ignored = call.integer("ignore_index") if call.has("ignore_index") else -100
    return F.nll_loss(
        log_p, labels.to(torch.int64), weight, ignore_index=ignored, reduction=call.text("reduction", "mean")
    )
