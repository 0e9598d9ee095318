"""The kinds of forms: one row a form, with all that lowering has to know of it.

A form is a class in `dtc.forms` and a folder, or a module, of `dtc.passes.lower` with a `KIND`. Both, the folder of its
operators and its word in the name of a recurrent operator are spelled as the form's `kind`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

import dtc.passes.lower
from dtc.forms import Form
from dtc.graph import Site
from dtc.graph.opset import too_old
from dtc.passes.lower.costs import Choice, Costs, choose
from dtc.passes.lower.lowered import Compressed, Lowered
from dtc.passes.lower.opset7 import OPSET as OLDER_OPSET
from dtc.passes.lower.opset7 import Decoder
from dtc.registry import collect

if TYPE_CHECKING:
    import onnx_ir as ir

    from dtc.graph.builder import GraphBuilder
    from dtc.passes.lower.joint import Joint
    from dtc.passes.lower.rewriting import Rewriting


@dataclass(frozen=True)
class Measured:
    """Where a form lies among the forms that costs were measured of.

    Attributes:
        points: Measured forms by name, with their places on a line, ascending.
        at: The form's own place on it.
    """

    points: Mapping[str, float]
    at: float


Together: TypeAlias = "Callable[[Joint, GraphBuilder, Site, Sequence[Form]], ir.Value | None]"
Sample: TypeAlias = Callable[[np.random.Generator, tuple[int, int]], Form]


def _none(_: Any) -> None:
    return None


def _no_parts(_: Any) -> tuple[Form, ...]:
    return ()


@dataclass(frozen=True)
class FormKind:
    """A row of the table.

    Attributes:
        form: The class.
        lower: Puts sites of this form into the graph, in place, and tells how each stands there.
        refuse: Returns why a site cannot be lowered to the form, naming the node; None if it can.
        opset: Lowest version of the default operator set of the nodes that `lower` makes.
        older: Decodes a site in nodes of operator set 7, where the model's own is older than `opset`; None: it is left
            alone there. The nodes of a model mean what its own set says, and it is not raised for new ones.
        together: Decodes a site in nodes of any operator set from 7 on, with other sites where it is small, into the
            initializer's own shape and type; its result is None for a form that it does not decode.
        operators: The operators of the domain `dtc` that compute on it or decode it.
        recurrent: Its layouts in the operators for LSTM and GRU (`dtc.deploy.ops.recurrent.weights.FORMS`).
        measured: Returns where a form of this kind lies among measured ones; None: its product was not measured.
        samples: What `dtc ops measure-costs` measures: by name, what makes a random form `[out, in]`.
        parts: Returns the forms that a form is made of.
    """

    form: type[Form]
    lower: Callable[[Rewriting, Sequence[Compressed]], list[Lowered]]
    refuse: Callable[[Site], str | None] = _none
    opset: int = 1
    older: Decoder | None = None
    together: Together | None = None
    operators: tuple[str, ...] = ()
    recurrent: tuple[str, ...] = ()
    measured: Callable[[Any], Measured | None] = _none
    samples: Mapping[str, Sample] = field(default_factory=dict)
    parts: Callable[[Any], tuple[Form, ...]] = _no_parts
    merges_into: type[Form] | None = field(default=None)
    """A form whose lowering takes sites of this one too, where a model has both: nodes may have weights of both."""


@cache
def kinds() -> dict[str, FormKind]:
    """Return the row of every form, by the form's `kind`; a form that has two rows is loud."""
    return collect(
        dtc.passes.lower, lambda m: [(m.KIND.form.kind, m.KIND)] if hasattr(m, "KIND") else [], "kinds of form"
    )


def kind_of(form: Form) -> FormKind:
    """Return the row of a form."""
    return kinds()[form.kind]


def unfit_opset(form: Form, opset: int) -> str | None:
    """Return why a form cannot stand in a model of that operator set, with the mend; None if it can."""
    return too_old(opset, _lowest_opset(form))


def _lowest_opset(form: Form) -> int:
    """Return the lowest operator set that a form, and the forms inside it, can be lowered to."""
    kind = kind_of(form)
    own = kind.opset if kind.older is None else OLDER_OPSET
    return max([own, *map(_lowest_opset, kind.parts(form))])


def choose_for(form: Form, rows: int | None, costs: Costs) -> Choice:
    """Choose between an operator on the form and the dense product, for so many rows at once (None: not known)."""
    measured = kind_of(form).measured(form)
    speed = None if measured is None else costs.speed(measured.points, measured.at, form.shape, rows)
    return choose(speed, rows, costs)
