"""A projection shared with the next layer, against ONNX Runtime with the dense weights."""

from __future__ import annotations

import pytest
from recurrent_graphs import Options, two_layers
from running import lowered_error, random_low_rank, sites_by_name

from dtc.forms import LowRank
from dtc.passes.lower import Compressed

TOLERANCE = 1e-4


@pytest.mark.parametrize("op", ["LSTM", "GRU"])
@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("opset", [11, 14])
def test_a_projection_shared_with_the_next_layer_is_computed_once(
    op: str, direction: str, lengths: bool, whole: bool, opset: int
) -> None:
    o = Options(op=op, direction=direction, lengths=lengths, opset=opset, steps=3)
    model, feeds = two_layers(o)
    sites = sites_by_name(model)
    first = random_low_rank(sites["R"], 2, seed=1, basis=True)
    second = random_low_rank(sites["W2"], 2, seed=2)
    second = Compressed(sites["W2"], (LowRank(second.forms[0].left, first.forms[0].right, "shared.0"),))
    others = [random_low_rank(sites[name], 3, seed=5) for name in (("W", "R2") if whole else ())]
    assert lowered_error(model, [second, first, *others], feeds, "scan") <= TOLERANCE
    assert "shared.0" in model.graph.initializers
    readers = [node for node, _ in model.graph.initializers["shared.0"].uses()]
    outside = [node for node in readers if node.graph is model.graph]
    assert [node.name for node in outside] == ["cell/project"]  # of the initial state; all else is in the Scan
    # a GRU that resets the state before the product projects that as well
    assert len(readers) - len(outside) == (1 if op == "LSTM" else 2)
