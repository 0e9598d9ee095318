"""A reference and its candidate, loaded side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dtc.checking.differences import interface_differences
from dtc.checking.measurements import MEASURED_SESSION
from dtc.checking.options import CheckOptions
from dtc.errors import ModelError
from dtc.graph.signature import Arrays, TensorSpec
from dtc.session import Outputs, runner, session, signature


class CandidateError(ModelError):
    """The candidate cannot run what the reference runs."""


@dataclass(frozen=True)
class Pair:
    """Both models, the reference first, each in a session of its own.

    Attributes:
        paths: Their files.
        inputs: The inputs of the reference.
        runs: What runs them, from inputs by name to outputs by name; the second one raises CandidateError.
        failures: Where the candidate has other inputs or outputs than the reference, in words.
    """

    paths: tuple[Path, Path]
    inputs: tuple[TensorSpec, ...]
    runs: tuple[Callable[[Arrays], Outputs], Callable[[Arrays], Outputs]]
    failures: tuple[str, ...]


def open_pair(reference: Path, candidate: Path, options: CheckOptions) -> Pair:
    """Load both models.

    Raises:
        ModelError: A file is missing, or ONNX Runtime refuses it.
    """
    first, second = (
        session(path, threads=options.threads, settings=MEASURED_SESSION, native=options.native)
        for path in (reference, candidate)
    )
    (inputs, outputs), (other_inputs, other_outputs) = signature(first), signature(second)
    failures = interface_differences("input", inputs, other_inputs)
    failures += interface_differences("output", outputs, other_outputs)
    # Only the candidate's errors get a class of their own: they are findings of the check, the reference's are not.
    run = runner(second)

    def run_candidate(batch: Arrays) -> Outputs:
        try:
            return run(batch)
        except ModelError as error:
            raise CandidateError(f"the candidate cannot run inputs that the reference runs: {error}") from error

    return Pair((reference, candidate), inputs, (runner(first), run_candidate), tuple(failures))
