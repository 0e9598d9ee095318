"""What a run writes while it goes: events, checkpoints, the best weights."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Container, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from dtc.errors import TrainingError
from dtc.forms import Array, Form, pack_form, unpack_form
from dtc.training.checkpoint import drop_unfinished, finished, load_snapshot, newest_snapshot, save_snapshot
from dtc.training.engine import Parameters
from dtc.training.events import Event, Noted, to_line
from dtc.training.known import Known
from dtc.training.loop import Distorted
from dtc.training.run import Run
from dtc.training.state import Best, State

KEPT = 2
"""Checkpoints on disk: the newest, and one before it in case that one is damaged."""


class Journal:
    """The record of one session, opened at the newest whole checkpoint.

    Events that were written after that checkpoint are taken back, because they will be written again.
    """

    def __init__(self, run: Run, parameters: Parameters, optimizer: dict[str, Array], known: Known) -> None:
        self._run = run
        for folder in (run.checkpoints, run.best):
            folder.mkdir(exist_ok=True)
            drop_unfinished(folder)
        snapshot, complaints = newest_snapshot(run.checkpoints)
        self.state = State()
        if snapshot:
            known.restore(snapshot.arrays)
            carry = _restore(snapshot.arrays, parameters, optimizer, known.saved_latents)
            self.state = State.from_facts(snapshot.facts["state"], carry)
        for newer in finished(run.checkpoints):
            if int(newer.name) > self.state.step or not snapshot:
                shutil.rmtree(newer)
        offset = snapshot.facts["metrics"] if snapshot else 0
        self._metrics = _open_at(run.metrics, offset)
        self.offset = self._metrics.tell()
        if self.offset < offset:
            complaints.append(f"{run.metrics}: events are missing")
        for complaint in complaints:
            self.log(Noted(self.state.step, f"{complaint}; going on from step {self.state.step}"))

    def close(self) -> None:
        """Close the file of events."""
        self._metrics.close()

    def log(self, event: Event) -> None:
        """Write an event, flushed."""
        self._metrics.write(to_line(event).encode() + b"\n")
        self._metrics.flush()

    def checkpoint(self, state: State, parameters: Parameters, optimizer: Mapping[str, Array], known: Known) -> None:
        """Save parameters, optimizer, position and carried state; forget all but the last `KEPT`."""
        for name, array in parameters.items():
            if not np.isfinite(array).all():
                raise TrainingError(f"step {state.step}: parameter {name!r} is not finite; lower the learning rate")
        arrays: dict[str, Any] = {f"parameter/{name}": array for name, array in parameters.items()}
        arrays |= {f"optimizer/{name}": array for name, array in optimizer.items()}
        arrays |= {f"carry/{name}": array for name, array in state.carry.items()}
        arrays |= known.arrays()
        facts = {"state": state.facts(), "metrics": self._metrics.tell()}
        os.fsync(self._metrics.fileno())
        save_snapshot(self._run.checkpoints / f"{state.step:09d}", arrays, facts)
        for old in finished(self._run.checkpoints)[:-KEPT]:
            shutil.rmtree(old)
        self._forget_bests(state)

    def keep_best(self, best: Best, parameters: Parameters, distorted: Distorted) -> None:
        """Save the weights as they are now, and the forms that they come from."""
        save_best(self._run.best / f"{best.step:09d}", parameters, distorted)

    def _forget_bests(self, state: State) -> None:
        """Keep the best of every kept checkpoint: going back to one goes back to its best, too."""
        wanted = {f"{state.best.step:09d}"} if state.best else set()
        for path in finished(self._run.checkpoints)[:-1]:
            try:
                best = load_facts(path)["state"]["best"]
            except TrainingError:
                continue  # it is passed over when it is read, too
            wanted |= {f"{best['step']:09d}"} if best else set()
        for path in finished(self._run.best):
            if path.name not in wanted:
                shutil.rmtree(path)


def save_best(folder: Path, parameters: Parameters, distorted: Distorted) -> None:
    """Write parameters and packed forms to a folder."""
    arrays: dict[str, Any] = {f"parameter/{name}": array for name, array in parameters.items()}
    packed = []
    for site, matrices in distorted.forms.items():
        for index, form in enumerate(matrices):
            parts = pack_form(form)
            packed.append({"site": site, "parts": list(parts)})
            arrays |= {f"form/{site}/{index}/{part}": array for part, array in parts.items()}
    save_snapshot(folder, arrays, {"forms": packed, "skipped": dict(distorted.skipped)})


def load_best(folder: Path) -> tuple[Parameters, dict[str, tuple[Form, ...]], dict[str, str]]:
    """Return parameters, forms by site, and the reasons of the sites left alone, as `save_best` wrote them.

    Raises:
        TrainingError: The folder is damaged.
    """
    snapshot = load_snapshot(folder)
    parameters = {
        name.removeprefix("parameter/"): np.asarray(array, dtype=np.float32)
        for name, array in snapshot.arrays.items()
        if name.startswith("parameter/")
    }
    found: dict[str, tuple[Form, ...]] = {}
    for entry in snapshot.facts["forms"]:
        site, before = entry["site"], found.get(entry["site"], ())
        parts = {part: snapshot.arrays[f"form/{site}/{len(before)}/{part}"] for part in entry["parts"]}
        found[site] = (*before, unpack_form(parts))
    return parameters, found, snapshot.facts["skipped"]


def load_facts(folder: Path) -> dict[str, Any]:
    """Return the facts of a checkpoint without its arrays.

    Raises:
        TrainingError: They are damaged.
    """
    try:
        facts: dict[str, Any] = json.loads((folder / "facts.json").read_text(encoding="utf-8"))["body"]["facts"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{folder}: damaged ({error})") from error
    return facts


def _restore(
    arrays: Mapping[str, Any], parameters: Parameters, optimizer: dict[str, Array], latents: Container[str]
) -> dict[str, Any]:
    """Put arrays back where they were; return the carried ones."""
    for prefix, live in (("parameter/", parameters), ("optimizer/", optimizer)):
        saved = {name.removeprefix(prefix) for name in arrays if name.startswith(prefix)}
        # An optimizer takes in latents in the course of a run.
        begun = {name for name in saved if prefix == "optimizer/" and name.split("/", 1)[-1] in latents}
        if saved - begun != live.keys():
            raise TrainingError("the checkpoint belongs to another model or optimizer; start a new run")
        for name in saved - begun:
            live[name][...] = arrays[prefix + name]
        for name in begun:
            live[name] = np.array(arrays[prefix + name], np.float32)
    return {name.removeprefix("carry/"): array for name, array in arrays.items() if name.startswith("carry/")}


def _open_at(path: Path, offset: int) -> IO[bytes]:
    """Open the events for writing after the first `offset` bytes."""
    file = path.open("r+b" if path.exists() else "w+b")
    file.truncate(min(offset, path.stat().st_size))
    file.seek(0, os.SEEK_END)
    return file
