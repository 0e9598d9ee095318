"""BatchNormalization by the moments of the batch, and its statistics from those of many batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.forms import Array
from dtc.graph.builder import GraphBuilder, Names, insert_before

BATCHES = 16
"""Batches that statistics are measured on; ResNet-20 on CIFAR-10, in batches of 100, gains nothing from 96 of them."""

FLOOR = 1e-3
"""Share of a channel's given variance that is added to what is divided by one another."""

Statistics: TypeAlias = Mapping[str, Array]
"""Means and variances, float32 `[C]`, by initializer."""


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


def expose_moments(model: ir.Model) -> list[Exposed]:
    """Compute the moments of what enters every measurable BatchNormalization, in place; nothing reads them."""
    names = Names(model)
    found = []
    for node in measurable(model.graph):
        builder, exposed = _exposed(names, node)
        insert_before(node, builder)
        found.append(exposed)
    return found


def use_batch_moments(model: ir.Model) -> list[Exposed]:
    """Let every measurable BatchNormalization take the moments of its batch for its statistics, in place."""
    return _replaced(model, lambda _, exposed: exposed.values[:2])


def correct_moments(model: ir.Model, given: Statistics, observed: Statistics) -> list[Exposed]:
    """Let every measurable BatchNormalization correct its statistics by the moments of its batch, in place.

    The result is that of `corrected` with a batch for `found`.
    """

    def correction(builder: GraphBuilder, exposed: Exposed) -> tuple[ir.Value, ir.Value]:
        # A node that was not observed corrects nothing: what enters it counts as observed and as found.
        pairs = [(given[name], observed.get(name, given[name])) for name in exposed.names]
        (mean, seen), (variance, spread) = pairs
        floor = _floor(variance)
        widened = builder.op("Add", [exposed.values[1], builder.constant(floor)])
        ratio = builder.op("Div", [widened, builder.constant(spread + floor)])
        shift = builder.op("Mul", [builder.constant(seen - mean), builder.op("Sqrt", [ratio])])
        new_mean = builder.op("Sub", [exposed.values[0], shift])
        new_variance = builder.op("Mul", [builder.constant(variance), ratio])
        new_mean.shape = new_variance.shape = ir.Shape(variance.shape)
        return new_mean, new_variance

    return _replaced(model, correction)


def corrected(given: Statistics, observed: Statistics, found: Statistics) -> dict[str, Array]:
    """Return statistics under which channels leave the normalisation with the moments that they have in the original.

    `given` are those of the original, `observed` the moments of some samples there, `found` those of the same samples
    where weights have changed; all by initializer. With M and V observed, m and v found, r = v / V: the mean becomes
    `m - (M - mean) sqrt(r)`, the variance `variance r`, so that `(m - mean') / sqrt(variance')` and
    `v / variance'` are what they were.
    """
    statistics: dict[str, Array] = {}
    for mean_name, variance_name in _pairs(given):
        if mean_name not in observed or mean_name not in found:
            continue
        mean, variance = given[mean_name], given[variance_name]
        floor = _floor(variance)
        ratio = (found[variance_name] + floor) / (observed[variance_name] + floor)
        statistics[mean_name] = (found[mean_name] - (observed[mean_name] - mean) * np.sqrt(ratio)).astype(np.float32)
        statistics[variance_name] = (variance * ratio).astype(np.float32)
    return statistics


def given_statistics(model: ir.Model) -> dict[str, Array]:
    """Return the statistics of every measurable BatchNormalization, by initializer, a mean and its variance in turn."""
    initializers = model.graph.initializers
    names = [name for node in measurable(model.graph) for name in statistics_of(node)]
    tensors = ((name, initializers[name].const_value) for name in names)
    return {name: tensor.numpy() for name, tensor in tensors if tensor is not None}


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


def _pairs(statistics: Statistics) -> Iterator[tuple[str, str]]:
    names = list(statistics)
    return zip(names[::2], names[1::2], strict=True)


def _floor(variance: Array) -> Array:
    """Return what is added to both variances of a ratio: a channel without variance has a ratio, too."""
    return (FLOOR * variance + np.float32(1e-12)).astype(np.float32)


def _exposed(names: Names, node: ir.Node) -> tuple[GraphBuilder, Exposed]:
    """Return the moments of what enters a node, and the nodes that compute them, which are in no graph yet."""
    builder = GraphBuilder(names, f"{node.name}/moments", dtype=ir.DataType.FLOAT)
    return builder, Exposed(statistics_of(node), _moments(builder, node))


def _replaced(
    model: ir.Model, statistics: Callable[[GraphBuilder, Exposed], tuple[ir.Value, ir.Value]]
) -> list[Exposed]:
    """Let every measurable BatchNormalization read what `statistics` makes of the moments of its batch."""
    names, found = Names(model), []
    for node in measurable(model.graph):
        builder, exposed = _exposed(names, node)
        values = statistics(builder, exposed)
        insert_before(node, builder)
        for index, value in zip((3, 4), values, strict=True):
            node.replace_input_with(index, value)
        for name in exposed.names:
            del model.graph.initializers[name]
        found.append(exposed)
    return found


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
