"""The best distorted weights of a run: their score, and how they lie in its directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dtc.device_arrays import on_host
from dtc.forms import Form, pack_form, unpack_form
from dtc.passes.plan import Distorted
from dtc.training.engine import Live, Parameters
from dtc.training.evaluate import Score
from dtc.training.snapshot import Snapshot


@dataclass(frozen=True)
class Best:
    """The step with the best distorted weights so far, and their score."""

    step: int
    score: Score


def save_best(folder: Path, parameters: Live, distorted: Distorted) -> None:
    """Write the parameters of the best step and the packed forms of its sites to `folder`.

    Raises:
        TrainingError: The folder cannot be written.
    """
    # Keys: `parameter/fc.weight`; `form/fc.weight/0/<part>` for matrix 0 of that site. Parts are listed in the facts,
    # too: names may hold slashes, so keys are made again when they are read, never taken apart.
    arrays: dict[str, Any] = {f"parameter/{name}": on_host(array) for name, array in parameters.items()}
    packed = []
    for site, matrices in distorted.forms.items():
        for index, form in enumerate(matrices):
            parts = pack_form(form)
            packed.append({"site": site, "parts": list(parts)})
            arrays |= {f"form/{site}/{index}/{part}": array for part, array in parts.items()}
    Snapshot(arrays, {"forms": packed, "skipped": dict(distorted.skipped)}).save(folder)


def load_best(folder: Path) -> tuple[Parameters, dict[str, tuple[Form, ...]], dict[str, str]]:
    """Return what `save_best` wrote: parameters, forms by site, and by site the reason why one was left alone.

    Parameters are float32 and have the shape of the initializer; a site has one form for each of its matrices.

    Raises:
        TrainingError: The folder is damaged.
    """
    snapshot = Snapshot.load(folder)
    parameters = {name: np.asarray(a, dtype=np.float32) for name, a in snapshot.below("parameter").items()}
    found: dict[str, tuple[Form, ...]] = {}
    # Entries of a site follow each other, matrix by matrix: how many came before is the number of this one.
    for entry in snapshot.facts["forms"]:
        site, before = entry["site"], found.get(entry["site"], ())
        parts = {part: snapshot.arrays[f"form/{site}/{len(before)}/{part}"] for part in entry["parts"]}
        found[site] = (*before, unpack_form(parts))
    return parameters, found, snapshot.facts["skipped"]
