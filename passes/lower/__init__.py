"""Lowering: compressed forms become nodes that run; `lower` tells how each site stands in the file.

A form is a row of `kinds.kinds()` (a folder or a module here), a target one of `target.targets()` (a module of
`targets/`).
"""

from dtc.passes.lower.kinds import FormKind, kind_of, unfit_opset
from dtc.passes.lower.lowered import Compressed, Lowered, ReadBy
from dtc.passes.lower.lowering import lower
from dtc.passes.lower.target import Target, find_target

__all__ = ["Compressed", "FormKind", "Lowered", "ReadBy", "Target", "find_target", "kind_of", "lower", "unfit_opset"]
