"""The progress of a run: everything that changes from step to step outside of engine and optimizer."""

from __future__ import annotations

import time
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np

from dtc.device_arrays import DeviceArray, beside, namespace, on_host
from dtc.forms import AnyArray, Form, pack_form, unpack_form
from dtc.passes.plan import Plan, SiteLatents
from dtc.training.best import Best
from dtc.training.engine import Live
from dtc.training.evaluate import Score
from dtc.training.snapshot import Snapshot

PHASES = ("step", "distortion", "evaluation", "data", "checkpoint")

_FACTS = ("steps", "step", "epoch", "position", "distortions", "settled", "best", "stale", "seconds")


@dataclass
class RunningMean:
    """The mean of arrays over some steps, by parameter, where the arrays lie."""

    sums: Live = field(default_factory=dict)
    count: int = 0

    def add(self, arrays: Mapping[str, DeviceArray]) -> None:
        """Take in the arrays of a step."""
        self.count += 1
        for name, array in arrays.items():
            # A run that was resumed has its sums in host memory still.
            known = self.sums.get(name)
            self.sums[name] = namespace(array).zeros_like(array) if known is None else beside(known, array)
            self.sums[name] += self._term(array)

    def means(self) -> Live:
        """Return the means; nothing before the first step."""
        return {name: total / np.float32(self.count) for name, total in self.sums.items()}

    def _term(self, array: DeviceArray) -> DeviceArray:
        return array


class MeanMagnitudes(RunningMean):
    """The mean magnitude of gradients over some steps."""

    def _term(self, array: DeviceArray) -> DeviceArray:
        return namespace(array).abs(array)


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        steps: Optimizer steps planned in all; 0 until it is known.
        step: Optimizer steps done.
        epoch: Number of the present epoch, from 0.
        position: Batches done in this epoch.
        distortions: Distortions done.
        settled: Whether one of them had full strength.
        best: The best evaluation so far.
        stale: Evaluations since then.
        seconds: Time spent so far in each of `PHASES`, over all sessions of the run.
        carry: Inputs carried to the next batch; empty at the start of an epoch.
        forms: The forms of the last distortion, by site; empty where no method needs them.
        gradients: Those since the last distortion; empty where no method needs them.
        distorted: Parameters after the last distortions, as many as are averaged; empty before these.
        masks: Which weights training may change, by parameter, where these lie; they follow from the forms.
        latents: What is trained in place of some parameters; None as long as all are trained themselves.
    """

    steps: int = 0
    step: int = 0
    epoch: int = 0
    position: int = 0
    distortions: int = 0
    settled: bool = False
    best: Best | None = None
    stale: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PHASES, 0.0))
    carry: dict[str, AnyArray] = field(default_factory=dict)
    forms: dict[str, tuple[Form, ...]] = field(default_factory=dict)
    gradients: MeanMagnitudes = field(default_factory=MeanMagnitudes)
    distorted: RunningMean = field(default_factory=RunningMean)
    masks: Mapping[str, DeviceArray] = field(default_factory=dict)
    latents: SiteLatents | None = None

    def advance(self, *, ends_epoch: bool) -> None:
        """Go on to the next batch, or to the next epoch with nothing carried over."""
        # Epoch 0 of 3 batches: (0, 0) -> (0, 1) -> (0, 2) -> (1, 0) as (epoch, position). State is not carried into an
        # epoch, whose first batch does not follow the last one.
        self.position += 1
        if ends_epoch:
            self.epoch, self.position, self.carry = self.epoch + 1, 0, {}

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Add the time of the block to a phase."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[phase] += time.perf_counter() - start

    def to_snapshot(self) -> Snapshot:
        """Return numbers as facts, and all else as arrays: `carry/<input>`, `form/<matrix>/<part>/<site>` and so on."""
        arrays: dict[str, AnyArray] = {f"carry/{name}": array for name, array in self.carry.items()}
        # The site comes last in a key, because it alone may hold slashes: `form/0/left/encoder/W` is part `left` of
        # matrix 0.
        for site, forms in self.forms.items():
            for index, form in enumerate(forms):
                arrays |= {f"form/{index}/{part}/{site}": array for part, array in pack_form(form).items()}
        # Sums and their count, not means: a resumed run adds to them and comes to the same bits.
        means: dict[str, RunningMean] = {"gradient": self.gradients, "distorted": self.distorted}
        for kind, mean in means.items():
            arrays |= {f"{kind}/{name}": on_host(total) for name, total in mean.sums.items()}
        if self.latents is not None:
            arrays |= {f"latent/{name}": array for name, array in self.latents.arrays.items()}
        counts = {"summed": self.gradients.count, "averaged": self.distorted.count}
        numbers = {name: getattr(self, name) for name in _FACTS} | counts
        numbers["best"] = None if self.best is None else asdict(self.best)
        return Snapshot(arrays, {"progress": numbers})

    @classmethod
    def from_snapshot(cls, snapshot: Snapshot, plan: Plan, trained: Container[str]) -> Self:
        """Return the progress that a snapshot of `to_snapshot` describes.

        Masks and latents follow from the forms, so the plan makes them anew; `trained` are the parameters that latents
        may stand for, and what latents had been trained to is put into them.
        """
        # 1. Numbers: the fields of `_FACTS` by their own names, and three that belong to other objects.
        numbers = dict(snapshot.facts["progress"])
        summed, best = numbers.pop("summed"), numbers.pop("best")
        averaged = numbers.pop("averaged", 0)  # checkpoints of older versions have none
        found = cls(**numbers, best=Best(best["step"], Score(**best["score"])) if best else None)
        found.carry = snapshot.below("carry")
        found.forms = _forms(snapshot.below("form"))
        found.gradients = MeanMagnitudes(_sums(snapshot, "gradient"), summed)
        found.distorted = RunningMean(_sums(snapshot, "distorted"), averaged)
        # 2. What follows from the forms is not saved: masks, and latents, which are made anew and then given their
        #    numbers.
        found.masks = plan.masks(found.forms)
        if numbers_of_latents := snapshot.below("latent"):
            found.latents = plan.latents(found.forms, trained)
            assert found.latents is not None, "the same forms have the same latents"
            for name, array in numbers_of_latents.items():
                found.latents.arrays[name][...] = array
        return found


def _sums(snapshot: Snapshot, kind: str) -> Live:
    return {name: array.astype(np.float32) for name, array in snapshot.below(kind).items()}


def _forms(packed: Mapping[str, AnyArray]) -> dict[str, tuple[Form, ...]]:
    """Return the forms by site, of parts by `<matrix>/<part>/<site>`; a site may have slashes in its name."""
    # {"0/left/a/W": L, "0/right/a/W": R} -> {"a/W": {0: {"left": L, "right": R}}} -> {"a/W": (the low-rank form,)}.
    # Matrices are sorted as numbers: as text, 10 would come before 2.
    parts: dict[str, dict[int, dict[str, Any]]] = {}
    for key, array in packed.items():
        index, part, site = key.split("/", 2)
        parts.setdefault(site, {}).setdefault(int(index), {})[part] = array
    return {site: tuple(unpack_form(one[index]) for index in sorted(one)) for site, one in parts.items()}
