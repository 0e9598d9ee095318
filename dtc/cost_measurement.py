"""Measurement of the speed of products with compressed weights on this machine: the table behind a target's choices.

Each measured form multiplies in a model of its own, next to a model of dense products of the same size; all take turns
in one process, on one thread. A model holds several products with different numbers: small ones stay in a cache, as
those of a small model do, and the largest come from memory, or from a very large last cache, which dense products gain
most from.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import TypeAlias

import numpy as np
import onnx_ir as ir
import onnxruntime

from dtc.checking.measurements import MEASURED_SESSION, machine, measure_latency
from dtc.deploy.ops.library import library_path, register
from dtc.errors import LibraryError
from dtc.graph import find_sites
from dtc.passes.lower import Compressed, find_target, lower
from dtc.passes.lower.accuracy import set_accuracy_level
from dtc.passes.lower.costs import Costs
from dtc.passes.lower.kinds import Sample, kinds

SIDES = (128, 512, 2048)

MODEL_BYTES = 96 << 20
"""Bytes of the dense weights of a model of the largest products."""

MOST_COPIES = 16

ROWS = (1, 4, 20)

LEVEL = 1
"""The arithmetic that files are written with unless told."""

Shape: TypeAlias = tuple[int, int]
Tell = Callable[[str], None]


def measure_costs(*, seconds: float = 0.5, sides: Sequence[int] = SIDES, tell: Tell = lambda _: None) -> Costs:
    """Measure every form that has samples; `seconds` is the time for each form, shape and number of rows.

    Every pair of `sides`, which ascend, is a shape `[out, in]`; `tell` is called with what is measured next.

    Raises:
        LibraryError: There is no native library whose kernels could be measured.
    """
    if library_path() is None:
        raise LibraryError("there is no native library to measure; dtc ops --path says how to build it")
    samples = {name: sample for kind in kinds().values() for name, sample in kind.samples.items()}
    # table[form][i, j, k]: speed with ROWS[i] vectors at once, out the j-th side and in the k-th; 2.0 is twice as fast
    # as dense.
    table = {name: np.empty((len(ROWS), len(sides), len(sides))) for name in samples}
    for (i, rows), (j, out), (k, inner) in product(enumerate(ROWS), enumerate(sides), enumerate(sides)):
        tell(f"{out}x{inner}, {rows} rows")
        for name, speed in _speeds(samples, (out, inner), rows, seconds).items():
            table[name][i, j, k] = max(round(speed, 2), 0.01)
    versions = f"ONNX Runtime {onnxruntime.__version__}, Python {platform.python_version()}"
    return Costs(
        machine=f"one thread of {machine()}, {versions}",
        sides=tuple(sides),
        rows=ROWS,
        speeds={name: speeds.tolist() for name, speeds in table.items()},
        node=_node(seconds),
    )


def _node(seconds: float) -> float:
    """Return how many multiplications of products of many rows a node takes as long as that has next to none."""
    shape, rows = (SIDES[1], SIDES[1]), ROWS[-1]
    empty, large = measure_latency([_dense_run((1, 1), 1), _dense_run(shape, rows)], seconds=2 * seconds)
    return round(rows * math.prod(shape) * empty.median / large.median, -3)


def _speeds(samples: Mapping[str, Sample], shape: Shape, rows: int, seconds: float) -> dict[str, float]:
    """Return the speed of each sample, as a multiple of the dense product's, at one shape and number of rows."""
    runs = [_dense_run(shape, rows), *(_run(sample, shape, rows) for sample in samples.values())]
    # All runs take turns within one measurement, dense ones among them: a machine that slows down slows all alike.
    times = measure_latency(runs, seconds=seconds * len(runs))
    return {name: times[0].median / each.median for name, each in zip(samples, times[1:], strict=True)}


def _dense_run(shape: Shape, rows: int) -> Callable[[], object]:
    return _session_run(_products(shape, rows))


def _run(sample: Sample, shape: Shape, rows: int) -> Callable[[], object]:
    """Return a function that runs products with a form, each computed on the form, however slow."""
    target = find_target("compute")
    # A form must gain next to nothing to be computed on: the measurement wants slow products too.
    eager = replace(target, costs=target.costs.model_copy(update={"worth": 1e-9}))
    model, rng = _products(shape, rows), np.random.default_rng(0)
    lower(model, [Compressed(site, (sample(rng, shape),)) for site in find_sites(model)], eager)
    set_accuracy_level(model, LEVEL)
    return _session_run(model)


def _session_run(model: ir.Model) -> Callable[[], object]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    for key, value in MEASURED_SESSION.items():
        options.add_session_config_entry(key, value)
    register(options)
    proto = ir.to_proto(model).SerializeToString()
    session = onnxruntime.InferenceSession(proto, options, providers=["CPUExecutionProvider"])
    (x,) = session.get_inputs()
    feed = np.random.default_rng(1).standard_normal(x.shape).astype(np.float32)
    return partial(session.run, [session.get_outputs()[0].name], {x.name: feed})


def _products(shape: Shape, rows: int) -> ir.Model:
    """Return a model of dense products `x W`, each with numbers of its own: 16, and less of weights above 6 MiB."""
    out, inner = shape
    floats, rng = ir.TensorType(ir.DataType.FLOAT), np.random.default_rng(0)
    copies = max(1, min(MOST_COPIES, MODEL_BYTES // (4 * out * inner)))
    x = ir.Value(name="x", type=floats, shape=ir.Shape([rows, inner]))
    weights, nodes = list(_weights(rng, shape, copies)), []
    for copy, weight in enumerate(weights):
        node = ir.node("MatMul", [x, weight], name=f"product_{copy}")
        node.outputs[0].name, node.outputs[0].type = f"y_{copy}", floats
        node.outputs[0].shape = ir.Shape([rows, out])
        nodes.append(node)
    outputs = [node.outputs[0] for node in nodes]
    graph = ir.Graph([x], outputs, nodes=nodes, initializers=weights, opset_imports={"": 17}, name="products")
    return ir.Model(graph, ir_version=8)


def _weights(rng: np.random.Generator, shape: Shape, copies: int) -> Iterator[ir.Value]:
    out, inner = shape
    for copy in range(copies):
        tensor = ir.tensor(rng.standard_normal((inner, out), dtype=np.float32), name=f"W_{copy}")
        yield ir.Value(
            name=f"W_{copy}", const_value=tensor, type=ir.TensorType(tensor.dtype), shape=ir.Shape([inner, out])
        )
