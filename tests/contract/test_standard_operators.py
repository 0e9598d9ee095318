"""What decodes a weight in a file for every runtime: the published operators alone, and no arithmetic on bytes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from dtc.graph import all_graphs, all_nodes
from dtc.graph.builder import add_initializer
from dtc.graph.ir_version import lowest_ir_version
from dtc.passes.lower import lower
from dtc.passes.lower.target import targets
from dtc.passes.method import methods
from dtc.passes.plan import make_plan
from dtc.recipe import Rule

PAGE = Path(__file__).parents[2] / "docs" / "runtimes.md"
METHODS = [*sorted(methods()), "prune+binary", "prune+codebook", "svd+uniform", "prune+svd"]
MOVES = {"Cast", "Concat", "Constant", "Expand", "Flatten", "Gather", "Reshape", "Shape", "Slice", "Split", "Transpose"}
"""What only moves numbers, of whatever type."""


def rooms(opset: int) -> ir.Model:
    """A reader of each kind, with a weight large enough for every form."""
    text = f"""<ir_version: 8, opset_import: ["": {opset}, "unused.domain": 1]>
    g (float[2,48] x, int64[3] ids, float[1,8,9,9] image, float[5,2,48] steps)
      => (float[2,64] a, float[3,48] e, float[1,32,7,7] k, float[5,1,2,32] s) {{
      a = MatMul(x, A)
      e = Gather(E, ids)
      k = Conv(image, K)
      s = LSTM<hidden_size=32>(steps, W, R)
    }}"""
    model, rng = ir.from_proto(onnx.parser.parse_model(text)), np.random.default_rng(0)
    shapes = {"A": (48, 64), "E": (80, 48), "K": (32, 8, 3, 3), "W": (1, 128, 48), "R": (1, 128, 32)}
    for node in model.graph:
        for index, value in enumerate(node.inputs):
            if value is not None and value.name in shapes:
                array = rng.standard_normal(shapes[value.name]).astype(np.float32)
                value.name, name = None, value.name
                node.replace_input_with(index, add_initializer(model.graph, name, array))
    return model


@pytest.mark.parametrize("opset", [7, 9, 10, 11, 12, 13, 18, 21, 24])
@pytest.mark.parametrize("method", METHODS)
def test_a_standard_file_decodes_by_the_published_operators(method: str, opset: int) -> None:
    model, target = rooms(opset), targets()["standard"]
    example = {k: v for each in method.split("+") for k, v in methods()[each].example.items()}
    plan = make_plan(model, [Rule(method=method, options=example)])
    own = {node.op_type for node in all_nodes(model)}
    items = plan.compressed(plan.distort().forms)
    lower(model, items, target)
    proto = onnx.shape_inference.infer_shapes(ir.to_proto(model), data_prop=True)
    onnx.checker.check_model(proto)
    assert {node.op_type for node in all_nodes(model)} <= (target.operators or set()) | own
    byte_names = {value.name for value in proto.graph.value_info if value.type.tensor_type.elem_type in (2, 3)}
    byte_names |= {each.name for each in proto.graph.initializer if each.data_type in (2, 3)}
    computed = {node.op_type for node in proto.graph.node if byte_names & {*node.input, *node.output}} - MOVES
    assert computed == set(), "arithmetic on bytes"
    assert [each.domain for each in proto.opset_import] == ([""] if items else ["", "unused.domain"])
    read = {name for graph in all_graphs(model) for node in graph for name in (v.name for v in node.inputs if v)}
    assert {name for graph in all_graphs(model) for name in graph.initializers} <= read
    assert model.ir_version == lowest_ir_version(model)


def test_the_page_publishes_the_list() -> None:
    published = re.search(r"<!-- operators -->(.*)<!-- end -->", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert published
    assert set(re.findall(r"`(\w+)`", published[1])) == targets()["standard"].operators
    assert not {"BitShift", "QLinearMatMul", "NonZero", "Scan"} & set(targets()["standard"].operators or ())
