"""BatchNormalization by the moments of the batch, and its statistics from those of many batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.forms import Array
from dtc.graph.builder import GraphBuilder, Names, insert_before

BATCHES = 16
"""Batches that statistics are measured on; ResNet-20 on CIFAR-10, in batches of 100, gains nothing from 96 of them."""


@dataclass(frozen=True, eq=False)
class Moments:
    """The mean and the variance of each channel that enters one BatchNormalization, over a batch.

    Attributes:
        names: The initializers that are the node's statistics: mean, variance.
        mean: float32 `[C]`.
        variance: float32 `[C]`, about that mean, divided by the number of values (as ONNX defines it, "biased").
        count: The number of values of a channel.
    """

    names: tuple[str, str]
    mean: Array
    variance: Array
    count: int


@dataclass(frozen=True, eq=False)
class Exposed:
    """A BatchNormalization that takes the moments of its batch for its statistics.

    Attributes:
        names: The initializers that were its statistics: mean, variance.
        values: What stands for them, float32 `[C]`, and the shape `[3]` of what was reduced: samples, channels, rest.
    """

    names: tuple[str, str]
    values: tuple[ir.Value, ir.Value, ir.Value]

    def moments(self, mean: npt.NDArray[Any], variance: npt.NDArray[Any], shape: npt.NDArray[Any]) -> Moments:
        """Return the moments, from the arrays that a run gave for `values`."""
        return Moments(self.names, mean, variance, int(shape[0] * shape[2]))


def measurable(graph: ir.Graph) -> list[ir.Node]:
    """Return the BatchNormalizations of a graph whose statistics can be replaced by measured ones.

    Those are float32 initializers that nothing else reads, which `normalise` sees to. A node whose batch is known to be
    one sample is left out: a frame of speech is no batch, and its level would be normalised away.
    """
    found = []
    for node in graph:
        if node.op_type != "BatchNormalization" or node.domain != "":
            continue
        attributes = node.attributes
        by_channel = attributes.get_int("training_mode", 0) == 0 and attributes.get_int("spatial", 1) == 1
        if by_channel and not _is_one_sample(node.inputs[0]) and all(_is_own(value) for value in node.inputs[3:5]):
            found.append(node)
    return found


def statistics_of(node: ir.Node) -> tuple[str, str]:
    """Return the names of the initializers that are the mean and the variance of a BatchNormalization."""
    mean, variance = node.inputs[3:5]
    assert mean is not None
    assert variance is not None
    return str(mean.name), str(variance.name)


def use_batch_moments(model: ir.Model) -> list[Exposed]:
    """Let every measurable BatchNormalization take the moments of its batch for its statistics, in place."""
    names, found = Names(model), []
    for node in measurable(model.graph):
        builder = GraphBuilder(names, f"{node.name}/moments", dtype=ir.DataType.FLOAT)
        exposed = Exposed(statistics_of(node), _moments(builder, node))
        insert_before(node, builder)
        for index, value in zip((3, 4), exposed.values, strict=False):
            node.replace_input_with(index, value)
        for name in exposed.names:
            del model.graph.initializers[name]
        found.append(exposed)
    return found


def pooled(batches: Iterable[Sequence[Moments]], *, enough: int = 1) -> dict[str, Array]:
    """Return the statistics by initializer of all batches together; the variance is about the common mean.

    Those of a node that saw fewer than `enough` values of a channel are left out.
    """
    counts: dict[tuple[str, str], int] = {}
    sums: dict[tuple[str, str], npt.NDArray[np.float64]] = {}
    for each in (moments for batch in batches for moments in batch):
        mean, variance = each.mean.astype(np.float64), each.variance.astype(np.float64)
        # Batches of n values, mean m and variance v: n m and n (v + m^2) are sums of values and of squares, which add
        # up.
        both = each.count * np.stack([mean, variance + mean**2])
        counts[each.names] = counts.get(each.names, 0) + each.count
        sums[each.names] = sums.get(each.names, 0) + both
    statistics: dict[str, Array] = {}
    for (mean_name, variance_name), count in counts.items():
        if count < enough:
            continue
        mean, square = sums[mean_name, variance_name] / count
        statistics[mean_name] = mean.astype(np.float32)
        statistics[variance_name] = np.maximum(square - mean**2, 0).astype(np.float32)
    return statistics


def _is_one_sample(value: ir.Value | None) -> bool:
    return value is not None and value.shape is not None and len(value.shape) > 0 and value.shape[0] == 1


def _is_own(value: ir.Value | None) -> bool:
    if value is None or not value.is_initializer() or value.const_value is None:
        return False
    return value.const_value.dtype == ir.DataType.FLOAT and len(value.uses()) == 1 and not value.is_graph_output()


def _moments(builder: GraphBuilder, node: ir.Node) -> tuple[ir.Value, ir.Value, ir.Value]:
    """Add nodes for mean and variance over all axes but the second, whatever the rank."""
    data = builder.op("Reshape", [node.inputs[0], builder.constant([0, 0, -1])])  # [N, C, the rest], 1 where none is
    mean = builder.mean(data, [0, 2])
    # From deviations, not as E[x^2] - E[x]^2: in float32 the difference of two large numbers would lose the variance.
    deviation = builder.op("Sub", [data, builder.op("Reshape", [mean, builder.constant([1, -1, 1])])])
    variance = builder.mean(builder.op("Mul", [deviation, deviation]), [0, 2])
    shape = builder.op("Shape", [data], dtype=ir.DataType.INT64)
    channels = node.inputs[3].shape if node.inputs[3] is not None else None
    mean.shape = variance.shape = channels
    shape.shape = ir.Shape([3])
    return mean, variance, shape
