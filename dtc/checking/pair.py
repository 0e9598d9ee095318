"""A reference and its candidate, loaded side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir

from dtc.checking.differences import interface_differences
from dtc.checking.measurements import MEASURED_SESSION
from dtc.checking.noise import is_random, still_session
from dtc.checking.options import CheckOptions
from dtc.errors import ModelError
from dtc.graph import load_model
from dtc.graph.signature import Arrays, TensorSpec
from dtc.session import Outputs, runner, session, signature


class CandidateError(ModelError):
    """The candidate cannot run what the reference runs."""


@dataclass(frozen=True)
class Pair:
    """Both models, the reference first, each in a session of its own.

    Attributes:
        paths: Their files.
        models: Their graphs, for whoever wants to know what is in them; nobody changes them.
        inputs: The inputs of the reference.
        runs: What runs them, from inputs by name to outputs by name; the second one raises CandidateError. Where the
            reference draws random numbers, both draw the same as long as they run in turns.
        attempt: Runs the reference out of turn.
        failures: Where the candidate has other inputs or outputs than the reference, in words.
        random: Whether the reference draws random numbers.
        open: Opens a session of either file, as `dtc.session.session`; of a random model each one draws the same.
    """

    paths: tuple[Path, Path]
    models: tuple[ir.Model, ir.Model]
    inputs: tuple[TensorSpec, ...]
    runs: tuple[Callable[[Arrays], Outputs], Callable[[Arrays], Outputs]]
    attempt: Callable[[Arrays], Outputs]
    failures: tuple[str, ...]
    random: bool
    open: Callable[..., Any]


def open_pair(reference: Path, candidate: Path, options: CheckOptions) -> Pair:
    """Load both models.

    Raises:
        ModelError: A file is missing, or ONNX Runtime refuses it.
    """
    told: dict[str, Any] = {"threads": options.threads, "settings": MEASURED_SESSION, "native": options.native}
    names = options.called or (str(reference), str(candidate))
    model = load_model(reference)
    random = is_random(model)
    opening: Callable[..., Any] = still_session if random else session
    first, second = opening(reference, called=names[0], **told), opening(candidate, called=names[1], **told)
    (inputs, outputs), (other_inputs, other_outputs) = signature(first), signature(second)
    failures = interface_differences("input", inputs, other_inputs)
    failures += interface_differences("output", outputs, other_outputs)
    # Only the candidate's errors get a class of their own: they are findings of the check, the reference's are not.
    run_first, run_second = runner(first), runner(second)

    def run_candidate(batch: Arrays) -> Outputs:
        try:
            return run_second(batch)
        except ModelError as error:
            raise CandidateError(f"the candidate cannot run inputs that the reference runs: {error}") from error

    attempt = runner(session(reference, called=names[0], **told)) if random else run_first
    paths, models, runs = (reference, candidate), (model, load_model(candidate)), (run_first, run_candidate)
    return Pair(paths, models, inputs, runs, attempt, tuple(failures), random, opening)
