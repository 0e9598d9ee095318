"""Mixed precision: a forward and backward pass in half precision, of parameters that stay float32.

P. Micikevicius et al.: Mixed precision training, ICLR 2018 (arXiv 1710.03740). Which operators compute in half
precision is torch's to say (autocast). Float16 reaches down to 6e-8 only, so its loss is scaled up before the backward
pass, and gradients down after it. A step whose gradients overflow is taken again with half the scale: none is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor

from dtc.errors import TrainingError
from dtc.training.engine import Parameters

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}

FIRST_SCALE = 2.0**16
GROWS_AFTER = 2000
"""Steps without an overflow, after which the scale is doubled; both numbers are those of torch.amp.GradScaler."""


class Precision:
    """The precision of training steps.

    Attributes:
        state: `loss_scale` and `clean_steps` since it changed last, float32 `[1]`; empty but for float16.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        self._dtype, self._device = _DTYPES.get(name), device
        self.state: Parameters = {}
        if self._dtype is torch.float16:
            self.state = {"loss_scale": np.array([FIRST_SCALE], np.float32), "clean_steps": np.zeros(1, np.float32)}

    def autocast(self) -> AbstractContextManager[object]:
        """Return a block in which operators compute in this precision."""
        return nullcontext() if self._dtype is None else torch.autocast(self._device.type, self._dtype)

    def gradients(
        self, loss_of_run: Callable[[], Tensor], leaves: Sequence[Tensor], agreed: Callable[[bool], bool] = bool
    ) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        """Return the loss, and its gradient of each leaf, None where there is none.

        `loss_of_run` runs the model; it is called again after an overflow. Where others run parts of the same batch,
        `agreed` tells whether a thing is true of all of them.

        Raises:
            TrainingError: Gradients overflow at any scale.
        """
        while True:
            loss = loss_of_run()
            scale = float(self.state["loss_scale"][0]) if self.state else 1.0
            found = torch.autograd.grad(loss * scale if self.state else loss, leaves, allow_unused=True)
            # A loss that is not finite is no matter of scale: whoever reads it says so.
            if not self.state or not agreed(bool(torch.isfinite(loss))):
                return loss, found
            found = tuple(None if gradient is None else gradient / scale for gradient in found)
            finite = [torch.isfinite(gradient).all() for gradient in found if gradient is not None]
            if agreed(bool(torch.stack(finite).all())):
                self._grow()
                return loss, found
            self._shrink()

    def _grow(self) -> None:
        self.state["clean_steps"] += 1
        if self.state["clean_steps"][0] >= GROWS_AFTER:
            self.state["clean_steps"][:] = 0
            self.state["loss_scale"] *= 2

    def _shrink(self) -> None:
        self.state["clean_steps"][:] = 0
        self.state["loss_scale"] /= 2
        if self.state["loss_scale"][0] < 1:
            raise TrainingError("gradients overflow float16 at every scale of the loss; take --precision bf16")
