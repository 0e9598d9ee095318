"""Checking a bundle: it is built and run in each of its ways, in turns with another one beside it."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median_low

from dtc.bundles.description import read_description
from dtc.bundles.document import DESCRIPTION, BundleCheck, BundleDescription, CheckedBundle, RunOutcome
from dtc.checking.measurements import machine
from dtc.deploy.programs import MissingError, ProgramError, ProgramReport
from dtc.deploy.target import MODEL, BundleRun, Place, deploy_targets
from dtc.errors import UsageError
from dtc.scratch import scratch_folder

ROUNDS = 2
"""Turns that two bundles take, if nothing else is said; of two the lesser time of each counts."""


def check_bundle(
    folder: str | Path,
    *,
    beside: str | Path | None = None,
    seconds: float = 2.0,
    rounds: int = ROUNDS,
    fetched: Path | None = None,
) -> BundleCheck:
    """Build and run a bundle in every way that this machine can, and compare with its test vectors.

    It is measured in turns with the bundle `beside`, in what runs both: so many `rounds`, of whose times the median
    counts, the lesser one of two, as what else the machine does meets both alike. `seconds` is the time for the latency
    of each way in a round. What came of it is written into the `deploy.json` of the bundle too, where that can be; ways
    without times, which the bundle beside remembers, are not run again there. What has to be fetched goes to `fetched`,
    for further checks; none: it is fetched for this one. Files that the description does not name take no part.

    Raises:
        UsageError: A folder is no bundle, was changed since, or nothing runs both.
    """
    opened = _Opened.open(Path(folder))
    other = None if beside is None else _Opened.open(Path(beside))
    if other is not None and not {run.name for run in opened.runs} & {run.name for run in other.runs}:
        raise UsageError(
            f"{beside}: is a bundle of target {other.description.target!r}, and {folder} of "
            f"{opened.description.target!r}, and nothing runs both; compare two of one target"
        )
    both = [opened] if other is None else [opened, other]
    with scratch_folder() as scratch:
        for bundle in both:
            bundle.settle(scratch, fetched or scratch, seconds)
        for way in {run.name: run for bundle in both for run in bundle.runs}.values():
            known = other is not None and not way.timed and other.recall(way.name)
            _take_turns(way, [opened] if known else both, rounds)
    notes = opened.remember()
    checked, compared = opened.checked, None if other is None else other.checked
    failures = _failures(checked, compared)
    return BundleCheck(
        schema="dtc-bundle-check/1", bundle=checked, beside=compared, failures=failures, notes=tuple(notes)
    )


_BAD = ("wrong", "failed")


@dataclass
class _Opened:
    """A bundle, and what came of running it so far."""

    folder: Path
    description: BundleDescription
    runs: Sequence[BundleRun]
    place: Place = field(init=False)
    outcomes: list[RunOutcome] = field(default_factory=list)

    @classmethod
    def open(cls, folder: Path) -> _Opened:
        """Read a bundle.

        Raises:
            UsageError: It is none, or was changed since it was written.
        """
        description = read_description(folder)
        return cls(folder, description, deploy_targets()[description.target].runs(description.processor))

    def settle(self, scratch: Path, fetched: Path, seconds: float) -> None:
        """Copy it to where it is run: nothing is built within the bundle, and nothing that was built there is run."""
        copy = scratch / f"bundle{len(list(scratch.iterdir()))}"
        for file in self.description.files:
            to = copy / file.path
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.folder / file.path, to)
        self.place = Place(copy, fetched, self.description.processor, seconds)

    def recall(self, name: str) -> bool:
        """Take in what came of a way when the bundle was checked before; False where it was not."""
        known = [each for each in self.description.ran if each.name == name]
        self.outcomes += known
        return bool(known)

    def started(self, name: str) -> Callable[[], ProgramReport] | None:
        """Build and install what a way takes; None, and an outcome, where that fails or the bundle has no such way."""
        way = next((run for run in self.runs if run.name == name), None)
        if way is None:
            return None
        try:
            return way.start(self.place)
        except MissingError as error:
            self._add(name, "missing", str(error))
        except ProgramError as error:
            self._add(name, "failed", str(error))
        return None

    def judge(self, name: str, found: ProgramReport) -> None:
        """Take in what a way found."""
        if found.relative_l2 <= self.description.tolerance:
            self._add(name, "right", "", found)
        else:
            wrong = (
                f"{found.relative_l2:.3g} from the test vectors (relative L2), {self.description.tolerance:g} allowed"
            )
            self._add(name, "wrong", wrong, found)

    def fail(self, name: str, reason: str) -> None:
        """Take in that a way failed."""
        self._add(name, "failed", reason)

    def _add(self, name: str, outcome: str, reason: str, found: ProgramReport | None = None) -> None:
        told = {"name": name, "outcome": outcome, "reason": reason, "found": found, "machine": machine()}
        self.outcomes.append(RunOutcome.model_validate(told))

    def remember(self) -> list[str]:
        """Write what came of it into the bundle's description, and return what a user should know of that.

        What is not on this machine keeps its older outcome.
        """
        new = {each.name: each for each in self.outcomes if each.outcome != "missing"}
        older = [each for each in self.description.ran if each.name not in new]
        updated = self.description.model_copy(update={"ran": (*older, *new.values())})
        draft = self.folder / f".{DESCRIPTION}.unfinished"
        try:
            draft.write_text(updated.to_json(indent=2) + "\n", encoding="utf-8")
            draft.replace(self.folder / DESCRIPTION)
        except OSError as error:
            return [f"{self.folder}: what came of it cannot be written there ({error.strerror})"]
        return []

    @property
    def checked(self) -> CheckedBundle:
        """What is told of it."""
        shipped = deploy_targets()[self.description.target].shipped
        built = any(file.path == shipped for file in self.description.files)
        model = self.description.file(shipped if built else MODEL)
        return CheckedBundle(
            folder=str(self.folder),
            target=self.description.target,
            model_bytes=model.bytes,
            model_gzip=model.gzip,
            bundle_bytes=self.description.nbytes,
            bundle_gzip=self.description.gzip,
            runs=tuple(self.outcomes),
        )


def _take_turns(way: BundleRun, bundles: Sequence[_Opened], rounds: int) -> None:
    """Run all bundles in one way: A B, then B A, and so on, where times are measured."""
    name = way.name
    found: dict[int, list[ProgramReport]] = {}
    running = {index: bundle.started(name) for index, bundle in enumerate(bundles)}
    order = [index for index, run in running.items() if run is not None]
    for _ in range(rounds if len(order) > 1 and way.timed else 1):
        for index in order:
            run = running[index]
            if run is None:
                continue
            try:
                found.setdefault(index, []).append(run())
            except ProgramError as error:
                bundles[index].fail(name, str(error))
                running[index] = None
        order.reverse()
    for index, reports in found.items():
        if running[index] is not None:
            bundles[index].judge(name, _middle(reports))


def _middle(reports: Sequence[ProgramReport]) -> ProgramReport:
    """Return the median times of several runs, the lower of two, and the largest distance and memory."""
    distances = [each.relative_l2 for each in reports]
    nan = next(filter(math.isnan, distances), None)
    return reports[0].model_copy(
        update={
            "relative_l2": max(distances) if nan is None else nan,
            "load": _median(each.load for each in reports),
            "latency": _median(each.latency for each in reports),
            "memory": max((each.memory for each in reports if each.memory is not None), default=None),
        }
    )


def _median(times: Iterable[float | None]) -> float | None:
    known = [each for each in times if each is not None]
    return median_low(known) if known else None


def _failures(checked: CheckedBundle, beside: CheckedBundle | None) -> tuple[str, ...]:
    """Return what is wrong with a bundle; a way in which the one beside it is not right either says nothing of it."""
    excused = set() if beside is None else {run.name for run in beside.runs if run.outcome in _BAD}
    bad = [run for run in checked.runs if run.outcome in _BAD]
    if not bad and not any(run.outcome == "right" for run in checked.runs):
        return ("nothing could be run on this machine",)
    return tuple(f"{run.name}: {run.reason}" for run in bad if run.name not in excused)
