"""Files for ONNX Runtime Web: as `standard`, in fewer nodes where only other runtimes take no fewer.

An engine runs what decodes weights before it has compiled it well. Where LSTMs are pruned, sums in the nodes that
OpenVINO computes when it loads a model count: the first load of a pruned DTLN takes 378 ms with them in Node 20, 327
with CumSum, and that of the original 315.
"""

from dataclasses import replace

from dtc.passes.lower.targets.standard import TARGET as STANDARD

TARGET = replace(
    STANDARD,
    name="web",
    title="as standard, in fewer nodes, which load faster in ONNX Runtime Web, and which not every runtime takes",
    portable=False,
)
