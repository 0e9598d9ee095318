"""Files for ONNX Runtime Web: as `standard`, in fewer nodes where only other runtimes take no fewer.

An engine runs what decodes weights before it has compiled it well. Where LSTMs are pruned, sums in the nodes that
OpenVINO computes when it loads a model take a part of the first load that a CumSum does not.
"""

from dataclasses import replace

from dtc.passes.lower.targets.standard import TARGET as STANDARD

TARGET = replace(
    STANDARD,
    name="web",
    title="as standard, in fewer nodes, which load faster in ONNX Runtime Web, and which not every runtime takes",
    portable=False,
)
