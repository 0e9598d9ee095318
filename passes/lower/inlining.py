"""Putting the nodes of each operator's function in the operator's place, for runtimes that take no function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import onnx_ir as ir
from onnx_ir.passes.common import InlinePass

from dtc.deploy.ops import DOMAIN, operators
from dtc.passes.lower.lowered import Lowered, ReadBy

REASON = "the nodes of its operator's function stand in the file, which the native library does not compute"


def inline_operators(model: ir.Model) -> None:
    """Put nodes in the place of all operators of dtc, in place; functions of the model itself stay."""
    InlinePass(lambda function: function.domain == DOMAIN and function.name in operators())(model)


def as_inlined(lowered: Sequence[Lowered]) -> list[Lowered]:
    """Return what is told of sites where no operator is left: nothing of a native kernel's speed."""
    return [replace(each, readers=tuple(map(_read_inlined, each.readers))) for each in lowered]


def _read_inlined(reader: ReadBy) -> ReadBy:
    return replace(reader, reason=REASON, speed=None) if reader.how == "operator" else reader
