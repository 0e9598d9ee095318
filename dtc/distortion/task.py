"""What a method needs to distort one site, and what comes of it: no graph, so that both can go to another process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from dtc.distortion.error import relative_error
from dtc.forms import stacked
from dtc.graph import MatrixView
from dtc.passes.compose import Composition
from dtc.passes.method import DistortionStep, Method, Outcome, Skip, Weights
from dtc.storage import ArrayStore, Kept


@dataclass(frozen=True)
class SiteTask:
    """A site to distort.

    Attributes:
        method: What distorts it.
        facts: What the method sees of it beside its weights: the other fields of `Weights`.
        tensor: Its weight, which is read only when the task is carried out.
        view: How that is read as matrices.
        at: When the distortion happens.
    """

    method: Method | Composition
    facts: Mapping[str, Any]
    tensor: ir.TensorProtocol
    view: MatrixView
    at: DistortionStep

    @property
    def site(self) -> str:
        """Name of the site."""
        return str(self.facts["site"])

    @property
    def can_leave(self) -> bool:
        """True if another process can do it: it has all that the method needs, and finds the method."""
        parts = (self.method.first, self.method.second) if isinstance(self.method, Composition) else (self.method,)
        known = all(type(part).__module__ != "__main__" for part in parts)
        return known and "probe" not in self.method.needs and not {"gram", "gradient"} & self.facts.keys()

    def weights(self) -> Weights:
        """Return what the method sees of the site."""
        return Weights(matrices=self.view.matrices(self.tensor.numpy()), **self.facts)

    def error_of(self, outcome: Outcome) -> float:
        """Return the relative squared error of forms; 0 where there are none."""
        if isinstance(outcome, Skip):
            return 0.0
        before = self.tensor.numpy()
        return relative_error(before, self.view.restore(stacked(outcome), before.shape))


@dataclass(frozen=True)
class DistortedSite:
    """What came of a site.

    Attributes:
        outcome: Its forms, their large arrays on disk, or why it is left alone.
        error: Relative squared error of the forms.
    """

    outcome: Kept[Outcome]
    error: float


def carry_out(task: SiteTask, store: ArrayStore) -> DistortedSite:
    """Distort a site, and leave its forms in a folder.

    Raises:
        DtcError: Whatever the method raises; or there is no room.
    """
    outcome = task.method.distort([task.weights()], task.at)[task.site]
    return DistortedSite(store.keep(outcome), task.error_of(outcome))
