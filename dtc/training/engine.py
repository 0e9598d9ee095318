"""The interface of training engines: an engine computes losses, gradients and predictions of one model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from dtc.device_arrays import DeviceArray
from dtc.forms import AnyArray, Array
from dtc.graph.signature import Arrays
from dtc.passes.prepare.batch_moments import Moments

Parameters: TypeAlias = dict[str, Array]

Live: TypeAlias = dict[str, DeviceArray]
"""float32 arrays by name, where their engine computes: in host memory or on a device."""


@dataclass(frozen=True)
class StepResult:
    """The result of one forward and backward pass.

    Attributes:
        loss: Mean loss over the batch.
        gradients: float32, of the shape of the parameter and where it lies, by parameter name; valid until the next
            call.
        outputs: The outputs that the objective carries over, by name.
    """

    loss: float
    gradients: Live
    outputs: dict[str, AnyArray]


class Engine(Protocol):
    """Runs the model of a training run. Optimizers, schedules and distortions live outside of the engine.

    Attributes:
        parameters: What is trained, by initializer name, where the engine computes: in host memory or on a device;
            live: writing into an array (`dtc.device_arrays.fill`) changes the model in place.
        statistics: What is measured instead of trained, likewise live: means and variances of the
            BatchNormalizations that normalise with the moments of the batch in training; empty where there are none.
        positive: Names of the parameters that must stay positive: the scales of quantized activations.
        frozen: Initializers that cannot or shall not be trained, by name, each with the reason in words.
        state: What else of it changes from step to step, such as the scale of a loss in half precision; in host memory,
            live. A checkpoint holds it.
    """

    parameters: Live
    statistics: Live
    positive: frozenset[str]
    frozen: dict[str, str]
    state: Parameters

    def prove(self, batches: Iterable[Arrays]) -> None:
        """Make sure on some batches that the engine computes what the model computes that it was made of.

        To be asked before the first step. An engine that runs the model as it was given reads none of them.

        Raises:
            EngineError: It computes something else; names the nodes.
        """
        ...

    def step(self, batch: Arrays, *, seed: int) -> StepResult:
        """Run forward and backward in training mode; `seed` alone decides on dropout.

        `batch` holds the model's inputs and the labels, by name.
        """
        ...

    def loss(self, batch: Arrays) -> tuple[float, dict[str, AnyArray]]:
        """Return the loss and the carried outputs in evaluation mode (no dropout), without gradients."""
        ...

    def moments(self, batch: Arrays) -> tuple[list[Moments], dict[str, AnyArray]]:
        """Return the mean and variance that enter each BatchNormalization on a batch, and the carried outputs.

        The pass normalises by these moments, uses the present weights and has no dropout; `statistics` are neither read
        nor changed. A model without such BatchNormalizations is not run: both results are empty.
        """
        ...

    def predict(self, inputs: Arrays) -> dict[str, AnyArray]:
        """Return all outputs of the model in evaluation mode."""
        ...
