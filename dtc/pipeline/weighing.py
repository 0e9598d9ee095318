"""A site's whole cost in the file is known before anything is written: what saves nothing is left alone.

A form is small where its arrays are; in the file it has nodes, names and tables as well, and below a kilobyte those
weigh more than the weights.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from dtc.errors import CheckFailedError
from dtc.formatting import size
from dtc.forms import Form
from dtc.graph import find_sites
from dtc.passes import lower as lowering
from dtc.passes.lean import Folded, fold_batch_norms
from dtc.passes.lower import Compressed, Lowered
from dtc.passes.lower.ledger import array_bytes
from dtc.pipeline.work import Tried, Work


def weigh(work: Work) -> None:
    """Give sites whose form would take more room in the file than the dense weight that weight back.

    Lowering is tried on a copy of the graph, which shares its tensors. After each round the rest is tried again, as
    what the sites need together is then divided among fewer. The last copy is the lowered model, kept for later.

    Raises:
        ModelError: A form cannot be lowered in this model.
    """
    work.tried = _try(work)
    while not work.job.allow_growth and (growing := _growing(work.tried.lowered, work)):
        for name, reason in growing.items():
            _leave_alone(work, name, reason)
        work.tried = _try(work)
    if not work.job.allow_growth:
        _weigh_rest(work)


def refuse_growth(work: Work) -> None:
    """Refuse to write a file that is larger than the model.

    Where nothing was compressed and nothing else was changed, the model's own file is written: another one would differ
    by a few names.

    Raises:
        CheckFailedError: The file is larger, and that was not allowed.
    """
    before, after = (sum(file.stat().st_size for file in files) for files in (work.files, work.written.files))
    if work.job.allow_growth or after <= before:
        return
    unchanged = not (work.distorted.forms or work.levels or work.training or work.renormalised)
    if unchanged and len(work.files) == 1:
        shutil.copyfile(work.original, work.written.path)
        work.leaner.clear()
        return
    raise CheckFailedError(
        f"{work.job.output}: not written, as it would be larger than the model: {size(after)} for {size(before)}; "
        "--allow-growth writes it"
    )


def lowered_copy(
    work: Work, forms: Mapping[str, tuple[Form, ...]], stored: Callable[[Form], Form] = lambda form: form
) -> Tried:
    """Return a lowered copy of the model with weights in these forms; `stored` as for `fold_batch_norms`.

    Raises:
        ModelError: A form cannot be lowered in this model.
    """
    clone, folded = work.model.clone(), Folded(forms)
    # In the copy alone: a weight that is left alone after all has its own rows there, and not scaled ones.
    if work.recipe.lean.fold_batch_norm:
        folded = fold_batch_norms(clone, forms, stored)
    rounding = {site.name for site in work.plan.in_integers}
    items = [
        Compressed(site, folded.forms[site.name], site.name in rounding)
        for site in find_sites(clone)
        if site.name in folded.forms
    ]
    return Tried(clone, tuple(lowering.lower(clone, items, work.target, work.on_disk)), folded)


def _try(work: Work) -> Tried:
    return lowered_copy(work, work.distorted.forms)


def _weigh_rest(work: Work) -> None:
    """Leave the sites that were rounded with the rest as they are, if what decodes them takes what they save."""
    rest = work.distorted.forms.keys() & work.distorted.skipped.keys()
    if not rest:
        return
    others = {name: forms for name, forms in work.distorted.forms.items() if name not in rest}
    if _nbytes(lowered_copy(work, others), work) <= _nbytes(work.tried, work):
        for name in rest:
            _leave_alone(work, name, f"{work.distorted.skipped[name]}; rounded, it saves nothing either")
        work.tried = _try(work)  # which has their own weights by now


def _nbytes(tried: Tried, work: Work) -> int:
    """Return what all sites take in a lowered copy, less what folding into them has saved there."""
    lowered = {each.site.name: each.nbytes for each in tried.lowered}
    return sum(lowered.get(site.name, array_bytes(site.value)) for site in work.plan.sites) - tried.folded.nbytes


def _growing(lowered: Sequence[Lowered], work: Work) -> Mapping[str, str]:
    """Return the sites to leave alone, each with the reason.

    1. A site whose own arrays, nodes and names take as much as its dense weight: 200 bytes of codes behind 400 bytes of
       nodes, for 576 bytes of weights.
    2. All sites, if those that save something save less than the tables and functions that they need together.
    """
    dense = {site.name: array_bytes(site.value, site.nbytes) for site in work.plan.sites}
    own = {each.site.name: each.nbytes - each.shared_bytes for each in lowered}
    growing = {
        name: f"saves nothing: {size(nbytes)} in the file, nodes and names counted, for {size(dense[name])}"
        for name, nbytes in own.items()
        if nbytes >= dense[name]
    }
    if not own:
        return {}
    kept = {name: nbytes for name, nbytes in own.items() if name not in growing}
    common = sum(each.shared_bytes for each in lowered)
    if not growing and sum(kept.values()) + common >= sum(dense[name] for name in kept):
        reason = f"saves less than the tables and functions that it needs, {size(common)} for all sites"
        growing = dict.fromkeys(kept, reason)
    return growing


def _leave_alone(work: Work, name: str, reason: str) -> None:
    """Take a site's form away; without training its weight is the original's again."""
    distorted = work.distorted
    work.distorted = replace(
        distorted,
        forms={site: forms for site, forms in distorted.forms.items() if site != name},
        skipped={**distorted.skipped, name: reason},
    )
    if work.training is None:
        site = next(site for site in work.plan.sites if site.name == name)
        site.value.const_value = work.untouched[name]
        work.errors.pop(name, None)
