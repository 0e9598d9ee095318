"""What a worker of a search does: it compresses sites or the whole model in memory, and measures what that costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from dtc.data.npy import read_npz
from dtc.distortion import relative_error
from dtc.errors import UsageError
from dtc.forms import Array, Form
from dtc.graph import Site, save_model
from dtc.graph.walk import replace_tensors
from dtc.job import Job
from dtc.passes.compose import make_methods
from dtc.passes.lower import Lowered
from dtc.passes.lower.ledger import array_bytes
from dtc.passes.method import DistortionStep
from dtc.passes.plan import Distorted, make_plan
from dtc.pipeline.choosing import choose, normalise
from dtc.pipeline.distorting import distort, put
from dtc.pipeline.quantizing import fit_activations, quantize_activations
from dtc.pipeline.stages import TRIED
from dtc.pipeline.statistics import set_statistics
from dtc.pipeline.weighing import lowered_copy
from dtc.pipeline.work import Known, Work, begin
from dtc.recipe import Objective, Recipe
from dtc.scratch import scratch_folder
from dtc.search.candidate import Candidate, Mix, rules_of
from dtc.search.loss import Judge, Loss, Measure
from dtc.search.onward import Onward
from dtc.search.samples import Halves, halves
from dtc.search.timing import latency_ratio, site_shares
from dtc.training.moments import StoredMoments

GRADIENTS = "gradients.npz"

_HELD_BYTES = 512 << 20
"""Distorted weights, and their forms, that are kept for another look."""


@dataclass(frozen=True)
class Setting:
    """What a search is about; workers get it, and open for themselves what it names.

    Attributes:
        model: The model file.
        recipe: Everything but the rules.
        base: Where relative paths of the recipe's data start.
        folder: Of the search; it holds second moments and gradients.
        measure: How outputs are compared.
        room: Bytes that each worker may keep of what enters sites, which changes no result.
    """

    model: Path
    recipe: Recipe
    base: Path
    folder: Path
    measure: Measure
    room: int = 256 << 20

    def known(self) -> Known:
        """Return what samples have told of the model."""
        stored = self.folder / GRADIENTS
        gradients = (
            {name: array.astype(np.float32) for name, array in read_npz(stored).items()} if stored.exists() else {}
        )
        return Known(StoredMoments(self.folder), gradients)

    def with_rules(self, mix: Mix) -> Recipe:
        """Return the recipe of a mix."""
        return self.recipe.model_copy(update={"rules": rules_of(mix)})

    @contextmanager
    def work(self, recipe: Recipe) -> Iterator[Work]:
        """Yield the work on a file that is gone afterwards."""
        with scratch_folder() as folder:
            job = Job(folder / self.model.name, workers=1)  # a search has processes of its own, one a core
            with begin(self.model, recipe, job, self.base) as work:
                work.moments, work.gradients = self.known().moments, self.known().gradients
                yield work


@dataclass(frozen=True, eq=False)
class _MadeSite:
    """What a candidate makes of a site."""

    dense: Array
    forms: tuple[Form, ...]

    @property
    def nbytes(self) -> int:
        return self.dense.nbytes + sum(form.nbytes for form in self.forms)


class Lab:
    """Evaluates candidates on the samples that a search decides by."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        # The work without rules is the model as it came, which other weights are put into and taken out of again.
        self._plain = begin(setting.model, setting.recipe, Job(setting.folder / "none.onnx"), setting.base)
        known = setting.known()
        self._plain.moments, self._plain.gradients = known.moments, known.gradients
        normalise(self._plain)
        choose(self._plain)
        objective, samples = setting.recipe.objective, self._plain.samples
        self._halves: Halves = halves(samples, objective, seed=setting.recipe.seed, model=setting.model)
        seen, unseen = self._halves.deciding, self._halves.unseen
        before = seen if self._halves.is_stream else ()
        self._judges = {
            False: Judge(setting.model, seen, objective, measure=setting.measure),
            True: Judge(setting.model, unseen, objective, measure=setting.measure, before=before),
        }
        self._kept: dict[tuple[Candidate, str], _MadeSite] = {}
        self._base: Mix = ()
        self._onward = self._run_onward(self._plain.model, self.sites)

    @property
    def sites(self) -> tuple[Site, ...]:
        """The sites of the model."""
        return self._plain.plan.sites

    def dense_bytes(self) -> dict[str, int]:
        """Return the bytes of each site as it is."""
        return {site.name: array_bytes(site.value, site.nbytes) for site in self.sites}

    def scan(self, candidate: Candidate, count: int) -> dict[str, Any]:
        """Return what a candidate makes of each site: its bytes in the file, and how far its outputs are off.

        That is the squared error of the products with the samples' inputs, relative to their square, by second moments;
        or that of the weights where there are no moments. Sites that do not get smaller are left out. `distance` is
        that of the model's outputs with all of them changed at once, on the first batches.
        """
        distorted = self._distort(candidate, None)
        lowered = self._lowered(candidate, distorted)
        dense, sites = self.dense_bytes(), {site.name: site for site in self.sites}
        found = {
            each.site.name: {
                "bytes": each.nbytes - each.shared_bytes,
                "error": self._error(sites[each.site.name], distorted.dense[each.site.name]),
                "kind": each.forms[0].kind,
                "speed": _speed(each),
            }
            for each in lowered
            if each.nbytes - each.shared_bytes < dense[each.site.name]
        }
        self._keep(candidate, distorted)
        return {
            "sites": found,
            "common": sum(each.shared_bytes for each in lowered),
            "distance": self.changed(dict.fromkeys(found, candidate), (), count).distance if found else 0.0,
        }

    def changed(self, changes: Mapping[str, Candidate | None], base: Mix, count: int) -> Loss:
        """Return the loss when some sites are changed and all others are as in `base`, on the first batches.

        Where one site is changed alone, the model is run from there on.
        """
        self._prepare(base)
        alone = next(iter(changes)) if len(changes) == 1 else None
        entering = None if alone is None else self._onward.entering(alone, count)
        with self._changed(changes):
            if alone is not None and entering is not None:
                return self._judges[False].compare(map(self._onward.rest(alone), entering), count)
            with scratch_folder() as folder:
                save_model(self._onward.model, folder / "changed.onnx")
                return self._judges[False].measure(folder / "changed.onnx", count)

    @contextmanager
    def _changed(self, changes: Mapping[str, Candidate | None]) -> Iterator[None]:
        """Have the weights of some candidates in the prepared model for a while."""
        changed = [site for site in self._onward.sites if site.name in changes]
        before = [site.value.const_value for site in changed]
        try:
            for site in changed:
                site.assign(self._weights(changes[site.name], site.name))
            yield
        finally:
            for site, tensor in zip(changed, before, strict=True):
                site.value.const_value = tensor

    def build(self, mix: Mix, count: int, *, unseen: bool = False, timed: bool = False) -> dict[str, Any]:
        """Return the bytes of the file of a mix, its loss on the first batches, and its latency if `timed`."""
        with self.setting.work(self.setting.with_rules(mix)) as work:
            for stage in TRIED:
                self._distort_all(work, mix) if stage is distort else stage(work)
            nbytes = sum(file.stat().st_size for file in work.written.files)
            return {"bytes": nbytes, **self.measured(work.written.path, count, unseen=unseen, timed=timed)}

    def measured(self, path: Path, count: int, *, unseen: bool = False, timed: bool = False) -> dict[str, Any]:
        """Return the loss of a file on the first batches, and its latency if `timed`."""
        facts = self._judges[unseen].measure(path, count).facts()
        return facts | {"latency": self.latency(path)} if timed else facts

    def site_shares(self) -> dict[str, float]:
        """Return which share of the time of a run of the model each site's readers take."""
        with scratch_folder() as folder:
            save_model(self._plain.model, folder / "timed.onnx")
            return site_shares(folder / "timed.onnx", self.sites, self._halves.deciding[0], self._objective)

    def latency(self, path: Path) -> float:
        """Return how long a run of a file takes, as a share of the original's, on a batch."""
        return latency_ratio(self.setting.model, path, self._halves.deciding[0], self._objective)

    @property
    def _objective(self) -> Objective:
        return self.setting.recipe.objective

    def _distort(self, candidate: Candidate, sites: list[str] | None) -> Distorted:
        work = self._plain
        at = DistortionStep(seed=work.recipe.seed)
        plan = make_plan(work.model, [candidate.rule(sites)], work.recipe.lean.rest_bits)
        return plan.distort(at=at, gradients=work.gradients, grams=work.gram_of)

    def _lowered(self, candidate: Candidate, distorted: Distorted) -> tuple[Lowered, ...]:
        """Return how all sites stand in a file, activations rounded where the candidate wants that."""
        work = copy(self._plain)
        work.model = work.model.clone()
        work.plan = make_plan(work.model, [candidate.rule()], work.recipe.lean.rest_bits)
        fit_activations(work)
        quantize_activations(work)
        return lowered_copy(work, distorted.forms).lowered

    def _weights(self, candidate: Candidate | None, site: str) -> Array:
        """Return the weights of a site as a candidate makes them; None: as they are."""
        if candidate is None:
            return np.asarray(next(each for each in self.sites if each.name == site).array())
        made = self._made(candidate, site)
        if made is None:
            raise UsageError(f"{candidate.words} leaves {site!r} alone")
        return made.dense

    def _made(self, candidate: Candidate, site: str) -> _MadeSite | None:
        """Return what a candidate makes of a site; None if it leaves it alone."""
        if (candidate, site) not in self._kept:
            self._keep(candidate, self._distort(candidate, [site]))
        return self._kept.get((candidate, site))

    def _keep(self, candidate: Candidate, found: Distorted) -> None:
        self._kept |= {(candidate, site): _MadeSite(array, found.forms[site]) for site, array in found.dense.items()}
        room = _HELD_BYTES - sum(each.nbytes for each in self._kept.values())
        for key in list(self._kept)[: -len(found.dense) or None]:
            if room >= 0:
                return
            room += self._kept.pop(key).nbytes

    def _distort_all(self, work: Work, mix: Mix) -> None:
        """Do what the stage `distort` does; what was made of sites that depend on no other one is taken from before."""
        by_site = all(make_methods(each.method, dict(each.options)).by_site for each in {each for _, each in mix})
        if work.recipe.lean.rest_bits is not None or not by_site:
            distort(work)
            return
        made = {site: self._made(candidate, site) for site, candidate in mix}
        forms = {site: each.forms for site, each in made.items() if each is not None}
        alone = {site: f"{dict(mix)[site].words} leaves it alone" for site in made.keys() - forms.keys()}
        work.distorted = Distorted(forms=forms, skipped=dict(work.plan.skipped) | alone)
        for site in work.plan.sites:
            if site.name in forms:
                put(work, site, forms[site.name])

    def _prepare(self, base: Mix) -> None:
        """Have the model with the weights of a mix, and the statistics that suit them; the last one is kept."""
        if self._base == base:
            return
        if not base:
            self._onward = self._run_onward(self._plain.model, self.sites)
        else:
            with self.setting.work(self.setting.with_rules(base)) as work:
                normalise(work)
                choose(work)
                self._distort_all(work, base)
                set_statistics(work)
                replace_tensors(work.model, _held)  # its folder goes now
                self._onward = self._run_onward(work.model, make_plan(work.model, ()).sites)
        self._base = base

    def _run_onward(self, model: ir.Model, sites: Sequence[Site]) -> Onward:
        return Onward(model, sites, self._halves.deciding, self._objective, room=self.setting.room)

    def _error(self, site: Site, dense: Array) -> float:
        gram = self._plain.gram_of(site)
        moments = None if gram is None else gram()
        before = site.matrices()
        if moments is None:
            return relative_error(before, site.matrices(dense))
        noise, signal = (
            float(((each @ moments) * each).sum())
            for each in ((before - site.matrices(dense)).astype(np.float64), before.astype(np.float64))
        )
        return noise / signal if signal > 0 else float(noise > 0)


def _speed(lowered: Lowered) -> float:
    """Return how many times faster than the dense weight the slowest reader of a site is expected to be."""
    return min((1.0 if each.how == "decoded" else each.speed or 1.0 for each in lowered.readers), default=1.0)


def _held(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    """Return a tensor in memory."""
    lies_elsewhere = isinstance(tensor, ir.LazyTensor)
    return ir.tensor(tensor.numpy(), dtype=tensor.dtype, name=tensor.name) if lies_elsewhere else tensor
