"""Statistics of BatchNormalization for weights that were never run: measured on samples, not averaged while training.

A distortion, or the best of many distorted weights, changes what flows through a network at once; averages over the
steps before tell of other weights. So they are measured anew wherever weights are evaluated or kept (Y. Wu, J. Johnson:
Rethinking "Batch" in BatchNorm, 2021, arXiv 2105.07576, section 3). They depend on the weights and the data alone, so a
run that is resumed has the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from dtc.forms import AnyArray
from dtc.graph.signature import Arrays
from dtc.passes.prepare.batch_moments import BATCHES, Moments, pooled
from dtc.training.carry import Carry
from dtc.training.engine import Engine, Parameters


def measured(engine: Engine, batches: Iterator[Arrays], carry: Carry) -> Parameters:
    """Return the statistics of the engine's present weights over the first batches, state carried between them."""
    return pooled(_moments(engine, islice(batches, BATCHES), carry)) if engine.statistics else {}


def of_batch(engine: Engine, fed: Arrays) -> Parameters:
    """Return the statistics of one batch, with which evaluation gives the training loss, but for dropout."""
    return pooled([engine.moments(fed)[0]]) if engine.statistics else {}


def _moments(engine: Engine, batches: Iterator[Arrays], carry: Carry) -> Iterator[Sequence[Moments]]:
    state: dict[str, AnyArray] = {}
    for batch in batches:
        found, outputs = engine.moments(carry.join(batch, state))
        state = carry.take(outputs)
        yield found
