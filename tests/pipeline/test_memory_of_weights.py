"""The largest weight bounds the memory of a compression, and not the model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from dtc.graph import load_model

SIDE, COUNT, COMPRESSED = 1024, 50, 18

SCRIPT = """
import json, resource, sys
from pathlib import Path
import dtc
from dtc.pipeline import stages
from dtc.pipeline.work import begin

def highest():
    return int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))) * 1024

source, output = map(Path, sys.argv[1:])
rule = dtc.Rule(method="prune", include=["w0*", "w1*"], exclude=["w18", "w19"], options={"sparsity": 0.9})
idle = highest()
with begin(source, dtc.Recipe(rules=(rule,)), dtc.Job(output, seconds=0, workers=1), Path()) as work:
    for stage in stages.ONE_SHOT:
        if stage.__name__ == "write":
            stage(work)
            break
        if stage.__name__ not in ("write_dense", "halve", "check_sites"):
            stage(work)
    own = highest() - idle
    forms = {name: forms[0].sparsity for name, forms in work.distorted.forms.items()}
    stages.deliver(work)
print(json.dumps([own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024, forms]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells")
def test_two_hundred_megabytes_of_weights_take_a_tenth_of_that(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    rng = np.random.default_rng(0)
    # All weights lie at one place of the file, which no reader knows of.
    weight = rng.standard_normal((SIDE, SIDE), dtype=np.float32)
    (tmp_path / "in" / "one.bin").write_bytes(b"abc" + weight.tobytes())
    value = first = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(["n", SIDE]))
    nodes, initializers = [], []
    for index in range(COUNT):
        name = f"w{index:02}"
        tensor = ir.ExternalTensor(
            "one.bin", 3, weight.nbytes, ir.DataType.FLOAT, shape=ir.Shape([SIDE, SIDE]), name=name
        )
        initializers.append(ir.Value(name=name, const_value=tensor))
        nodes.append(ir.node("MatMul", [value, initializers[-1]], name=f"product{index}"))
        value = nodes[-1].outputs[0]
        value.name, value.type, value.shape = f"y{index}", first.type, first.shape
    graph = ir.Graph([first], [value], nodes=nodes, initializers=initializers, opset_imports={"": 17}, name="g")
    (tmp_path / "in" / "m.onnx").write_bytes(ir.to_proto(ir.Model(graph, ir_version=8)).SerializeToString())
    output = tmp_path / "out.onnx"
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "in" / "m.onnx"), str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    own, worker, forms = json.loads(done.stdout)
    assert len(forms) == COMPRESSED
    assert min(forms.values()) > 0.89
    assert own < 40e6  # forms and output are 140 MB, the weights 210 MB
    assert worker < 220e6  # of which 110 MB are modules
    written = load_model(output).graph.initializers
    np.testing.assert_array_equal(written["w30"].const_value.numpy(), weight)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".dtc")] == []
