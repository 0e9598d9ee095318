"""Every method on every target: the file computes what the forms say, holds what the target allows, and is told."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from running import lowered_and_run, random_feeds

from dtc.deploy.ops import DOMAIN
from dtc.graph import all_nodes
from dtc.passes.lower import Compressed
from dtc.passes.lower.target import targets
from dtc.passes.method import methods
from dtc.passes.plan import make_plan
from dtc.recipe import Rule

ROOMS = """<ir_version: 10, opset_import: ["": 17]>
rooms (float[2,24] x, int64[3] ids, float[1,4,9,9] image, float[5,2,24] steps,
       float[24,40] A, float[40,24] B, float[30,24] E, float[16,4,3,3] K, float[1,64,24] W, float[1,64,16] R)
  => (float[2,40] a, float[2,40] b, float[3,24] e, float[1,16,7,7] k, float[5,1,2,16] s) {
  a = MatMul(x, A)
  b = Gemm<transB=1>(x, B)
  e = Gather(E, ids)
  k = Conv(image, K)
  s = LSTM<hidden_size=16>(steps, W, R)
}"""
"""A node of every kind that reads a weight, each with a weight of its own."""

TARGETS = sorted(targets())
METHODS = sorted(methods())


def rooms() -> ir.Model:
    model = ir.from_proto(onnx.parser.parse_model(ROOMS))
    rng = np.random.default_rng(0)
    for value in [value for value in model.graph.inputs if str(value.name).isupper()]:
        shape = [int(str(size)) for size in value.shape or ()]
        value.const_value = ir.tensor(rng.standard_normal(shape, dtype=np.float32), name=value.name)
        model.graph.inputs.remove(value)
        model.graph.register_initializer(value)
    return model


def compressed(model: ir.Model, method: str) -> list[Compressed]:
    plan = make_plan(model, [Rule(method=method, options=dict(methods()[method].example))])
    return plan.compressed(plan.distort().forms)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("method", METHODS)
def test_a_file_computes_what_the_forms_say_and_holds_what_its_target_allows(method: str, target: str) -> None:
    model, wanted = rooms(), targets()[target]
    items = compressed(model, method)
    own = {node.op_type for node in all_nodes(model)}
    far, told = lowered_and_run(model, items, random_feeds(model), wanted)
    assert far <= max([1e-5, *(each.tolerance for each in told.values() if each.tolerance)])
    assert set(told) == {item.site.name for item in items}
    assert bool(model.functions) <= wanted.functions
    added = {(node.domain, node.op_type) for node in all_nodes(model)}
    if wanted.operators is not None:
        assert {name for domain, name in added if domain == ""} <= wanted.operators | own
        assert all(domain != DOMAIN for domain, _ in added)
    for each in told.values():
        assert each.reason
        assert each.nbytes > 0
        assert {reader.node for reader in each.readers} == {reader.node_name for reader in each.site.readers}
        assert wanted.replaces_readers or each.how == "decoded"


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_says_what_it_is_for(name: str) -> None:
    target = targets()[name]
    assert target.name == name
    assert target.title
    assert 0 < target.tolerance < 1
    assert target.functions or target.operators, "a file without functions has a list of operators"
