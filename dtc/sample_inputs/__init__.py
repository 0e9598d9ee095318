"""Inputs for a model of which nobody gave any.

`sampler` draws them, of sizes that `shapes` tries, integers within `ranges`, numbers of the kinds of `values`;
`compared` finds what a model compares its inputs with.
"""

from dtc.sample_inputs.compared import compared_constants
from dtc.sample_inputs.sampler import Inputs, InputSampler, sample_inputs
from dtc.sample_inputs.shapes import batch_dimension
from dtc.sample_inputs.values import KINDS, USUAL

__all__ = ["KINDS", "USUAL", "InputSampler", "Inputs", "batch_dimension", "compared_constants", "sample_inputs"]
