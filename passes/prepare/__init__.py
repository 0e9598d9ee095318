"""Normalising rewrites: they change how a model is written, not what it computes."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir
from onnx_ir.passes.common import LiftConstantsToInitializersPass, RemoveInitializersFromInputsPass

from dtc.passes.prepare.fold_weights import FoldComputedWeightsPass
from dtc.passes.prepare.inline_functions import InlineWeightFunctionsPass, plan_inlining
from dtc.passes.prepare.name_nodes import NameNodesPass
from dtc.passes.prepare.own_scales import OwnScalesPass
from dtc.passes.prepare.own_statistics import OwnStatisticsPass
from dtc.passes.prepare.remove_identities import RemoveIdentitiesPass
from dtc.passes.prepare.remove_unused import RemoveUnusedPass

__all__ = ["functions_left", "normalise", "strip_training"]


def normalise(model: ir.Model) -> None:
    """Bring `model` into the form that sites are found in, in place; its outputs stay the same.

    Weights come to lie in initializers which are not inputs: an input with a default value stops being an input
    (as by ONNX Runtime's own tool; old exporters list every weight so), constants become initializers, and weights
    computed from constants are folded, bit for bit but for the rounding of sums such as a weight norm's; functions that
    hold weights are inlined. Statistics of BatchNormalization are shared by no two nodes, the scale of a quantizer by
    both of its operators. Names that are unique stay; missing and doubled ones are made.
    """
    InlineWeightFunctionsPass(_regularise)(model)
    _regularise(model)
    # Before, the format asked for every initializer to be an input as well.
    model.ir_version = max(model.ir_version, 4)


def functions_left(model: ir.Model) -> Mapping[ir.OperatorIdentifier, str]:
    """Return why functions of a model are not inlined although weights may be in them, by domain, name, overload."""
    return plan_inlining(model, _regularise).left


def _regularise(model: ir.Model) -> None:
    pipeline = ir.passes.Sequential(
        NameNodesPass(),  # what follows needs names to register initializers
        RemoveInitializersFromInputsPass(),
        LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        FoldComputedWeightsPass(),
        OwnStatisticsPass(),
        OwnScalesPass(),
        RemoveUnusedPass(),
    )
    pipeline(model)


def strip_training(model: ir.Model) -> None:
    """Remove what only training needs, in place: Dropout becomes Identity, and Identities are skipped."""
    pipeline = ir.passes.Sequential(RemoveIdentitiesPass(), RemoveUnusedPass())
    pipeline(model)
