"""Measurement of the speed of products with compressed weights on this machine: the table behind a target's choices.

Each measured form multiplies in a model of its own, next to a model of dense products of the same size; all take turns
in one process, on one thread. A model holds several products with different numbers: those of the smallest side stay in
a cache, as those of a small model do, and those of the largest come from memory.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import onnx_ir as ir
import onnxruntime

from dtc.checking.measurements import MEASURED_SESSION, machine, measure_latency
from dtc.deploy.ops.library import library_path, register
from dtc.errors import LibraryError
from dtc.graph import find_sites
from dtc.passes.lower import Compressed, find_target, lower
from dtc.passes.lower.costs import Costs
from dtc.passes.lower.kinds import Sample, kinds

MOST_BYTES = {128: 1 << 20, 512: 8 << 20, 2048: 96 << 20}
"""Bytes of all dense weights of a model, by the side of a weight: within a cache, within the last cache, beyond."""

ROWS = (1, 4, 20)

Tell = Callable[[str], None]


def measure_costs(*, seconds: float = 0.5, sides: Mapping[int, int] = MOST_BYTES, tell: Tell = lambda _: None) -> Costs:
    """Measure every form that has samples; `seconds` is the time for each form, side and number of rows.

    `sides` are sides of the matrices, with the bytes of all dense weights of a model; `tell` is called with what is
    measured next.

    Raises:
        LibraryError: There is no native library whose kernels could be measured.
    """
    if library_path() is None:
        raise LibraryError("there is no native library to measure; dtc ops --path says how to build it")
    samples = {name: sample for kind in kinds().values() for name, sample in kind.samples.items()}
    table: dict[str, list[list[float]]] = {name: [] for name in samples}
    # table[form][i][j]: speed with ROWS[i] vectors at once and the j-th side; 2.0 is twice as fast as dense.
    for rows in ROWS:
        for line in table.values():
            line.append([])
        for side, most_bytes in sides.items():
            tell(f"{side}x{side}, {rows} rows")
            # Side 128, 1 MiB: 16 float32 products of 64 KiB. Side 2048, 96 MiB: 6 products of 16 MiB.
            copies = max(1, most_bytes // (4 * side * side))
            for name, speed in _speeds(samples, side, rows, copies, seconds).items():
                table[name][-1].append(round(speed, 2))
    versions = f"ONNX Runtime {onnxruntime.__version__}, Python {platform.python_version()}"
    return Costs(
        machine=f"one thread of {machine()}, {versions}",
        sides=tuple(sides),
        rows=ROWS,
        speeds={name: tuple(map(tuple, lines)) for name, lines in table.items()},
    )


def _speeds(samples: Mapping[str, Sample], side: int, rows: int, copies: int, seconds: float) -> dict[str, float]:
    """Return the speed of each sample, as a multiple of the dense product's, at one side and number of rows."""
    runs = [_dense_run(side, rows, copies), *(_run(sample, side, rows, copies) for sample in samples.values())]
    # All runs take turns within one measurement, dense ones among them: a machine that slows down slows all alike.
    times = measure_latency(runs, seconds=seconds * len(runs))
    return {name: times[0].median / each.median for name, each in zip(samples, times[1:], strict=True)}


def _dense_run(side: int, rows: int, copies: int) -> Callable[[], object]:
    return _session_run(_products(side, rows, copies))


def _run(sample: Sample, side: int, rows: int, copies: int) -> Callable[[], object]:
    """Return a function that runs `copies` products with a form, each computed on the form, however slow."""
    target = find_target("compute")
    # A form must gain next to nothing to be computed on: the measurement wants slow products too.
    eager = replace(target, costs=target.costs.model_copy(update={"worth": 1e-9}))
    model, rng = _products(side, rows, copies), np.random.default_rng(0)
    lower(model, [Compressed(site, (sample(rng, side),)) for site in find_sites(model)], eager)
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


def _products(side: int, rows: int, copies: int) -> ir.Model:
    """Return a model of dense products `x W`, each with numbers of its own."""
    floats, rng = ir.TensorType(ir.DataType.FLOAT), np.random.default_rng(0)
    x = ir.Value(name="x", type=floats, shape=ir.Shape([rows, side]))
    weights, nodes = list(_weights(rng, side, copies)), []
    for copy, weight in enumerate(weights):
        node = ir.node("MatMul", [x, weight], name=f"product_{copy}")
        node.outputs[0].name, node.outputs[0].type = f"y_{copy}", floats
        node.outputs[0].shape = ir.Shape([rows, side])
        nodes.append(node)
    outputs = [node.outputs[0] for node in nodes]
    graph = ir.Graph([x], outputs, nodes=nodes, initializers=weights, opset_imports={"": 17}, name="products")
    return ir.Model(graph, ir_version=8)


def _weights(rng: np.random.Generator, side: int, copies: int) -> Iterator[ir.Value]:
    for copy in range(copies):
        tensor = ir.tensor(rng.standard_normal((side, side), dtype=np.float32), name=f"W_{copy}")
        shape = ir.Shape([side, side])
        yield ir.Value(name=f"W_{copy}", const_value=tensor, type=ir.TensorType(tensor.dtype), shape=shape)
