"""Statistics of BatchNormalization measured anew on samples, in the installed ONNX Runtime.

What a compression changes in the weights shifts what every BatchNormalization behind them sees; its statistics are
those of other weights (Y. Wu, J. Johnson: Rethinking "Batch" in BatchNorm, 2021, arXiv 2105.07576).
"""

from __future__ import annotations

from itertools import islice

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from dtc.data import Source
from dtc.evaluate import stateful
from dtc.forms import Array
from dtc.graph import save_model
from dtc.graph.signature import input_specs
from dtc.passes.prepare.batch_moments import BATCHES, pooled, use_batch_moments
from dtc.recipe import Objective
from dtc.scratch import scratch_folder
from dtc.session import runner, session

ENOUGH = 256
"""Values of a channel from which its variance is known to a tenth; with fewer, statistics stay as they are."""


def measure_statistics(model: ir.Model, source: Source, objective: Objective, *, seed: int) -> dict[str, Array]:
    """Return the statistics of the BatchNormalizations of `model` by initializer, over the first batches of `source`.

    Empty where there are none, where the batch is fixed to one sample, or with too few samples.

    Raises:
        DataError: The samples do not fit the model.
    """
    specs, clone = input_specs(model), model.clone()
    # 1. Whether the batch is fixed to one sample is a matter of shapes, so these are inferred first.
    ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(clone)
    exposed = use_batch_moments(clone)
    if not exposed:
        return {}
    # 2. Mean, variance and shape of each norm become outputs. Norms already use the moments of the batch in this clone,
    #    so that those further back see what they would see with the new statistics.
    clone.graph.outputs.extend(value for each in exposed for value in each.values)
    with scratch_folder() as folder:
        path = folder / "measured.onnx"
        save_model(clone, path)
        run = runner(session(path, called="the model"))
    # In order of the samples where state is carried; elsewhere the first may well be all of one class.
    batches = islice(source.batches(epoch=0, seed=seed, shuffle=not objective.carry), BATCHES)
    names = [[str(value.name) for value in each.values] for each in exposed]
    # 3. Sums over all batches; the variance is about the common mean, not the mean of the batches' variances.
    return pooled(
        (
            [each.moments(*(outputs[name] for name in three)) for each, three in zip(exposed, names, strict=True)]
            for outputs, _ in stateful(run, batches, objective, specs)
        ),
        enough=ENOUGH,
    )
