"""What a file is written for: one object, made once and passed down.

The names of targets are compared nowhere: whoever lowers asks the target what it allows. A target is a module of
`dtc.passes.lower.targets` with a `TARGET`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import dtc.passes.lower.targets
from dtc.errors import UsageError
from dtc.passes.lower.costs import Costs, default_costs, load_costs
from dtc.registry import collect


@dataclass(frozen=True)
class Target:
    """What a lowered file may hold, and what its runtime is good at.

    Attributes:
        name: Its name on the command line and in recipes.
        title: What it is for, in a sentence.
        functions: Whether operators of the domain `dtc`, each with its model-local function, may stand in the file.
        replaces_readers: Whether a node that reads a weight may be replaced by one that computes on the compressed
            weight. Where not, every reader stays as it is and gets a dense weight that nodes in front of it decode.
        inlined: Whether the nodes of an operator's function stand in its place, so that no function is left.
        integers: Whether products between rounded activations are left to integer kernels of the runtime.
        int2_planes: Whether binary codes become INT2 planes where they can.
        portable: Whether runtimes other than ONNX Runtime shall take the file, too; some of them compute less when they
            load a model, and want constant weights for some nodes.
        max_opset: Highest one; None: any. Models of newer ones are refused.
        operators: The standard operators that lowering may add; None: any.
        costs: How fast computing on compressed weights is there.
        tolerance: Largest relative L2 difference of the file's outputs from those of the distorted dense model, where
            it differs by the rounding of floats alone.
    """

    name: str
    title: str
    functions: bool
    replaces_readers: bool
    inlined: bool = False
    integers: bool = False
    int2_planes: bool = False
    portable: bool = True
    max_opset: int | None = None
    operators: frozenset[str] | None = None
    costs: Costs = field(default_factory=default_costs)
    tolerance: float = 1e-4

    @property
    def computes(self) -> bool:
        """True where operators of the domain `dtc` compute products with compressed weights."""
        return self.functions and self.replaces_readers

    @property
    def loops(self) -> bool:
        """True where a `Scan` may stand for an LSTM or GRU."""
        return self.operators is None or "Scan" in self.operators

    @property
    def decodes_by_operator(self) -> bool:
        """True where an operator of the domain `dtc` in front of the readers decodes a weight."""
        return self.functions and not self.replaces_readers


@cache
def targets() -> dict[str, Target]:
    """Return every target by name; a name taken twice is loud."""
    return collect(
        dtc.passes.lower.targets, lambda m: [(m.TARGET.name, m.TARGET)] if hasattr(m, "TARGET") else [], "targets"
    )


def find_target(name: str, costs: Path | None = None, *, inlined: bool = False) -> Target:
    """Return the target of that name; with the costs of a file, as `dtc ops measure-costs` writes them, where given.

    `inlined` leaves no function in a file.

    Raises:
        UsageError: There is no such target, or the file holds no costs.
    """
    if name not in targets():
        raise UsageError(f"--lower: no target is called {name!r}; there are: {', '.join(sorted(targets()))}")
    target = replace(targets()[name], inlined=inlined)
    return target if costs is None else replace(target, costs=load_costs(costs))
