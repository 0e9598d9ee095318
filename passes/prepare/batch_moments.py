"""BatchNormalization by the moments of the batch, and its statistics from those of many batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.forms import Array
from dtc.passes.lower.emit import Emitter, Names, insert_before, opset_of


@dataclass(frozen=True, eq=False)
class Moments:
    """The mean and the variance of each channel that enters one BatchNormalization, over a batch.

    Attributes:
        names: The initializers that are the node's statistics: mean, variance.
        mean: float32 `[C]`.
        variance: float32 `[C]`, about that mean, divided by the number of values (as ONNX defines it, "biased").
    """

    names: tuple[str, str]
    mean: Array
    variance: Array


def measurable(graph: ir.Graph) -> list[ir.Node]:
    """Return the BatchNormalizations of a graph whose statistics can be replaced by measured ones.

    Those are float32 initializers that nothing else reads, which `normalise` sees to.
    """
    found = []
    for node in graph:
        if node.op_type != "BatchNormalization" or node.domain != "":
            continue
        attributes = node.attributes
        by_channel = attributes.get_int("training_mode", 0) == 0 and attributes.get_int("spatial", 1) == 1
        if by_channel and all(_is_own(value) for value in node.inputs[3:5]):
            found.append(node)
    return found


def statistics_of(node: ir.Node) -> tuple[str, str]:
    """Return the names of the initializers that are the mean and the variance of a BatchNormalization."""
    mean, variance = node.inputs[3:5]
    assert mean is not None
    assert variance is not None
    return str(mean.name), str(variance.name)


def use_batch_moments(model: ir.Model) -> list[tuple[tuple[str, str], tuple[ir.Value, ir.Value]]]:
    """Let every measurable BatchNormalization take the moments of its batch for its statistics, in place.

    Returns:
        For each, the names of its statistics, and the values, float32 `[C]`, that now stand for them.
    """
    names, found = Names(model), []
    for node in measurable(model.graph):
        emitter = Emitter(names, f"{node.name}/moments", opset_of(model), ir.DataType.FLOAT)
        statistics = statistics_of(node)
        moments = _moments(emitter, node)
        insert_before(node, emitter)
        for index, value in zip((3, 4), moments, strict=True):
            node.replace_input_with(index, value)
        for name in statistics:
            del model.graph.initializers[name]
        found.append((statistics, moments))
    return found


def pooled(batches: Iterable[tuple[float, Sequence[Moments]]]) -> dict[str, Array]:
    """Return the statistics by initializer of all batches together, each weighed by its size.

    The variance is that of all values about their common mean. Nothing for no batches.
    """
    total = 0.0
    sums: dict[tuple[str, str], npt.NDArray[np.float64]] = {}
    for weight, found in batches:
        total += weight
        for each in found:
            mean, variance = each.mean.astype(np.float64), each.variance.astype(np.float64)
            both = weight * np.stack([mean, variance + mean**2])
            sums[each.names] = sums[each.names] + both if each.names in sums else both
    statistics: dict[str, Array] = {}
    for (mean_name, variance_name), both in sums.items():
        mean, square = both / total
        statistics[mean_name] = mean.astype(np.float32)
        statistics[variance_name] = np.maximum(square - mean**2, 0).astype(np.float32)
    return statistics


def _is_own(value: ir.Value | None) -> bool:
    if value is None or not value.is_initializer() or value.const_value is None:
        return False
    return value.const_value.dtype == ir.DataType.FLOAT and len(value.uses()) == 1 and not value.is_graph_output()


def _moments(emitter: Emitter, node: ir.Node) -> tuple[ir.Value, ir.Value]:
    """Add nodes for mean and variance over all axes but the second, whatever the rank."""
    data = emitter.add("Reshape", [node.inputs[0], emitter.constant([0, 0, -1])])  # [N, C, the rest], 1 where none is
    mean = _mean(emitter, data)
    deviation = emitter.add("Sub", [data, emitter.add("Reshape", [mean, emitter.constant([1, -1, 1])])])
    return mean, _mean(emitter, emitter.add("Mul", [deviation, deviation]))


def _mean(emitter: Emitter, data: ir.Value) -> ir.Value:
    if emitter.opset < 18:
        return emitter.add("ReduceMean", [data], {"axes": [0, 2], "keepdims": 0})
    return emitter.add("ReduceMean", [data, emitter.constant([0, 2])], {"keepdims": 0})
