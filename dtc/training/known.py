"""What a run remembers for its methods between two distortions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dtc.forms import Array, Form, pack_form, unpack_form
from dtc.passes.method import Need
from dtc.training.engine import Parameters

_FORM, _GRADIENT, _LATENT = "known/form", "known/gradient", "known/latent"


class Latents(Protocol):
    """What is trained in place of some parameters that are made of it.

    Attributes:
        arrays: float32, by a name that no parameter has; live.
    """

    arrays: dict[str, Array]

    def gradients(self, gradients: Parameters, /) -> dict[str, Array]:
        """Return the gradients of all that is trained, given those of the parameters."""
        ...

    def forms(self) -> dict[str, tuple[Form, ...]]:
        """Return the forms that the present numbers make, by site."""
        ...

    def dense(self) -> dict[str, Array]:
        """Return the parameters that they make."""
        ...


@dataclass
class Known:
    """The forms of the last distortion, and the gradients since; what no method needs is not kept.

    Attributes:
        wants: What the methods of the run need.
        forms: The forms of the last distortion, by site.
        masks: Which weights training may change, by parameter; derived from the forms.
        latents: What is trained in place of some parameters; None as long as all are trained themselves.
        saved_latents: The numbers that a checkpoint has for them, by name.
    """

    wants: frozenset[Need] = frozenset()
    forms: dict[str, tuple[Form, ...]] = field(default_factory=dict)
    masks: dict[str, npt.NDArray[np.bool_]] = field(default_factory=dict)
    latents: Latents | None = None
    saved_latents: dict[str, Array] = field(default_factory=dict)
    _sums: dict[str, Array] = field(default_factory=dict)
    _count: int = 0

    def see(self, gradients: Parameters) -> None:
        """Take in the gradients of a step."""
        if "gradient" not in self.wants:
            return
        self._count += 1
        for name, gradient in gradients.items():
            if name not in self._sums:
                self._sums[name] = np.zeros_like(gradient)
            self._sums[name] += np.abs(gradient)

    def gradients(self) -> dict[str, Array]:
        """Return the mean magnitude of the gradients since the last distortion, by parameter."""
        return {name: total / np.float32(self._count) for name, total in self._sums.items()}

    def distorted(self, forms: Mapping[str, tuple[Form, ...]], masks: Mapping[str, npt.NDArray[np.bool_]]) -> None:
        """Remember the forms and masks of a distortion, and begin to sum up gradients anew."""
        self._sums, self._count = {}, 0
        self.masks = dict(masks)
        if "previous" in self.wants:
            self.forms = dict(forms)

    def hold(self, latents: Latents) -> None:
        """Remember what is trained in place of some parameters from now on, with the numbers of a checkpoint if any."""
        self.latents = latents
        for name, array in self.saved_latents.items():
            latents.arrays[name][...] = array

    def renewed(self) -> dict[str, Array]:
        """Return the parameters that the present latents make; their forms are the last known ones."""
        if self.latents is None:
            return {}
        self.forms |= self.latents.forms()
        return self.latents.dense()

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return everything as arrays, for a checkpoint."""
        arrays: dict[str, npt.NDArray[np.generic]] = {f"{_GRADIENT}/{name}": a for name, a in self._sums.items()}
        for site, forms in self.forms.items():
            for index, form in enumerate(forms):
                arrays |= {f"{_FORM}/{index}/{part}/{site}": array for part, array in pack_form(form).items()}
        if self.latents is not None:
            arrays |= {f"{_LATENT}/{name}": array for name, array in self.latents.arrays.items()}
        if self._count:
            arrays["known/count"] = np.asarray(self._count)
        return arrays

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Put back what `arrays` returned; latents at the next `hold`."""
        self._count = int(arrays.get("known/count", 0))
        self._sums, parts = {}, dict[str, dict[int, dict[str, npt.NDArray[Any]]]]()
        for key, array in arrays.items():
            if key.startswith(f"{_GRADIENT}/"):
                self._sums[key.removeprefix(f"{_GRADIENT}/")] = array.astype(np.float32)
            elif key.startswith(f"{_LATENT}/"):
                self.saved_latents[key.removeprefix(f"{_LATENT}/")] = array.astype(np.float32)
            elif key.startswith(f"{_FORM}/"):
                index, part, site = key.removeprefix(f"{_FORM}/").split("/", 2)
                parts.setdefault(site, {}).setdefault(int(index), {})[part] = array
        self.forms = {site: tuple(unpack_form(one[i]) for i in sorted(one)) for site, one in parts.items()}
