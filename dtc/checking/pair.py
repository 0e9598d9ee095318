"""A reference and its candidate, loaded side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import onnx_ir as ir

from dtc.checking.differences import interface_differences
from dtc.checking.measurements import MEASURED_SESSION
from dtc.checking.noise import is_random, still_session
from dtc.checking.options import CheckOptions
from dtc.checking.session_memory import IDLE, run_together, session_memory
from dtc.checking.turns import Run, SessionTurns
from dtc.deploy.ops import DOMAIN
from dtc.deploy.ops.library import library_path
from dtc.errors import ModelError
from dtc.formatting import size
from dtc.graph import load_model
from dtc.graph.signature import Arrays, TensorSpec
from dtc.memory import free_memory
from dtc.session import Outputs, session


class CandidateError(ModelError):
    """The candidate cannot run what the reference runs."""


@dataclass(frozen=True)
class Pair:
    """Both models, the reference first, each in a session of its own; large ones are best run by turns of many inputs.

    Attributes:
        paths: Their files.
        models: Their graphs, for whoever wants to know what is in them; nobody changes them.
        inputs: The inputs of the reference.
        runs: What runs them, from inputs by name to outputs by name; the second one raises CandidateError. Where the
            reference draws random numbers, both draw the same as long as they run in turns.
        attempt: Runs the reference out of turn.
        failures: Where the candidate has other inputs or outputs than the reference, in words.
        random: Whether the reference draws random numbers.
        run_of: Returns what runs either file in a further session, with the arguments of `dtc.session.session`; of a
            random model each one draws the same.
        turns: Has the sessions: of large models one at a time.
        decodes_in_runs: Whether the candidate decodes its weights in every run, for want of memory and of kernels.
    """

    paths: tuple[Path, Path]
    models: tuple[ir.Model, ir.Model]
    inputs: tuple[TensorSpec, ...]
    runs: tuple[Callable[[Arrays], Outputs], Callable[[Arrays], Outputs]]
    attempt: Callable[[Arrays], Outputs]
    failures: tuple[str, ...]
    random: bool
    run_of: Callable[..., Run]
    turns: SessionTurns
    decodes_in_runs: bool


def open_pair(reference: Path, candidate: Path, options: CheckOptions) -> Pair:
    """Load both models.

    Raises:
        ModelError: A file is missing, ONNX Runtime refuses it, or it does not fit into memory.
    """
    models = load_model(reference), load_model(candidate)
    memory = free_memory() if options.memory is None else options.memory
    names = options.called or (str(reference), str(candidate))
    held = tuple(map(session_memory, models))
    _refuse_unfit(held, names, memory)
    turns = SessionTurns(at_once=run_together(models[0], sum(held), memory))
    random, kernels = is_random(models[0]), options.native and library_path() is not None
    told: dict[str, Any] = {
        "threads": options.threads,
        "settings": MEASURED_SESSION,
        "native": options.native,
        "sparing": not (turns.at_once or kernels),
    }
    opening: Callable[..., Any] = still_session if random else session
    first, second = (
        partial(opening, path, called=name, **told) for path, name in zip((reference, candidate), names, strict=True)
    )
    (inputs, outputs), (other_inputs, other_outputs) = turns.signature(first), turns.signature(second)
    failures = interface_differences("input", inputs, other_inputs)
    failures += interface_differences("output", outputs, other_outputs)
    # Only the candidate's errors get a class of their own: they are findings of the check, the reference's are not.
    run_first, run_second = turns.runner(first), turns.runner(second)

    def run_candidate(batch: Arrays) -> Outputs:
        try:
            return run_second(batch)
        except ModelError as error:
            raise CandidateError(f"the candidate cannot run inputs that the reference runs: {error}") from error

    def run_of(path: Path, **settings: Any) -> Run:
        return turns.runner(partial(opening, path, **settings))

    attempt = run_of(reference, called=names[0], **told) if random else run_first
    paths, runs = (reference, candidate), (run_first, run_candidate)
    decodes = told["sparing"] and any(domain == DOMAIN for domain, *_ in models[1].functions)
    return Pair(paths, models, inputs, runs, attempt, tuple(failures), random, run_of, turns, decodes_in_runs=decodes)


def _refuse_unfit(held: Sequence[int], names: Sequence[str], memory: int) -> None:
    for nbytes, name in zip(held, names, strict=True):
        needed = IDLE + nbytes
        if needed > memory:
            raise ModelError(
                f"{name}: running it takes {size(needed)} of memory, and {size(memory)} may be used; give more "
                "(--memory), or run it where there is more"
            )
