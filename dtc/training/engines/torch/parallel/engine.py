"""The engine of several processes, as its first one runs it."""

from __future__ import annotations

import multiprocessing
import weakref
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

import onnx_ir as ir
import torch

from dtc.cores import cores
from dtc.errors import DtcError, EngineError, TrainingError
from dtc.forms import AnyArray
from dtc.graph import save_model
from dtc.graph.signature import Arrays, input_specs
from dtc.passes.prepare.batch_moments import Moments
from dtc.scratch import scratch_folder
from dtc.training.engine import Live, Parameters, StepResult
from dtc.training.engine_settings import EngineSettings
from dtc.training.engines.torch.device import open_device
from dtc.training.engines.torch.engine import TorchEngine
from dtc.training.engines.torch.parallel.cut import BatchCut, cuts
from dtc.training.engines.torch.parallel.group import Seat, leave
from dtc.training.engines.torch.parallel.helper import BatchPart, Post, assist, shared_step
from dtc.training.engines.torch.whole import Whole

_NEAR = 1e-4
"""Relative difference between the loss of a batch and the sum of its parts': of rounding, where the cut is right."""


def make_engine(
    model: ir.Model, settings: EngineSettings, teacher: ir.Model | None = None
) -> TorchEngine | ParallelEngine:
    """Return the engine of one process, or of as many as the settings say.

    Raises:
        EngineError: The model cannot be trained, or there are fewer devices than processes.
    """
    if settings.processes == 1:
        return TorchEngine(model, settings, teacher)
    return ParallelEngine(model, settings, teacher)


class ParallelEngine:
    """Implements `dtc.training.engine.Engine` by several processes, each of which runs a part of every batch.

    Losses and gradients are those of the whole batch, BatchNormalization goes by its moments, too; only what is drawn
    (Dropout) differs from one process's. All but steps is done by this process alone. The others start with the first
    step, and end with it. A batch with fewer samples than processes is run here.

    Raises:
        EngineError: The model cannot be trained, or there are fewer devices than processes.
    """

    def __init__(self, model: ir.Model, settings: EngineSettings, teacher: ir.Model | None = None) -> None:
        self._settings = _settings_of_each(settings)
        self._own = TorchEngine(model, self._settings[0], teacher)
        self._models = (model, model if teacher is None else teacher)
        self._inputs = input_specs(model)
        self._carry = settings.objective.carry
        self.parameters: Live = self._own.parameters
        self.statistics: Live = self._own.statistics
        self.positive, self.frozen = self._own.positive, self._own.frozen
        self.state: Parameters = self._own.state
        self._cut: BatchCut | None = None
        self._crew: _Crew | None = None

    def prove(self, batches: Iterable[Arrays]) -> None:
        """Nothing is to be shown of the model; where batches can be cut is found out at the first step."""
        self._own.prove(batches)

    def step(self, batch: Arrays, *, seed: int) -> StepResult:
        """Run forward and backward in training mode; see `Engine.step`.

        Raises:
            DataError: An input or the labels are missing, of the wrong type, or cannot be run.
            EngineError: Torch cannot compute a node at all, or the batch cannot be cut.
            TrainingError: A process has died.
        """
        count = len(self._settings)
        if self._cut is None:
            self._cut = self._find_cut(batch)
        if self._cut.samples(batch) < count:
            return self._own.step(batch, seed=seed)
        if self._crew is None:
            self._crew = _Crew(self._own, self._models, self._settings)
        taken, outputs = self._crew.step(self._cut.parts(batch, count), seed)
        return replace(taken, outputs=self._cut.joined(outputs, self._carry))

    def loss(self, batch: Arrays) -> tuple[float, dict[str, AnyArray]]:
        """Return the loss and the carried outputs in evaluation mode; see `TorchEngine.loss`."""
        return self._own.loss(batch)

    def moments(self, batch: Arrays) -> tuple[list[Moments], dict[str, AnyArray]]:
        """Return the moments of a batch and the carried outputs; see `TorchEngine.moments`."""
        return self._own.moments(batch)

    def predict(self, inputs: Arrays) -> dict[str, AnyArray]:
        """Return all outputs of the model in evaluation mode; see `TorchEngine.predict`."""
        return self._own.predict(inputs)

    def close(self) -> None:
        """End the other processes; a step starts them again."""
        if self._crew is not None:
            self._crew.close()
            self._crew = None

    def _find_cut(self, batch: Arrays) -> BatchCut:
        """Return the first cut by which the parts of a batch have the loss of the whole, without Dropout."""
        counts: list[float] = []

        def noted(count: float) -> float:
            counts.append(count)
            return count

        expected, _ = self._own.loss(batch, whole=Whole(total_of=noted))
        for cut in cuts(self._inputs, batch):
            try:
                parts = cut.parts(batch, min(len(self._settings), cut.samples(batch)))
                found = sum(self._own.loss(part, whole=Whole(total_of=lambda _: counts[0]))[0] for part in parts)
            except (DtcError, RuntimeError, ValueError, IndexError):
                continue  # steps of a sequence, say, cannot be run apart from each other
            if abs(found - expected) <= _NEAR * abs(expected):
                return cut
        sizes = ", ".join(f"{name} {list(array.shape)}" for name, array in batch.items())
        raise EngineError(
            f"--processes {len(self._settings)}: no axis counts samples that can be run apart ({sizes}); "
            "train in one process"
        )


def _settings_of_each(settings: EngineSettings) -> list[EngineSettings]:
    """Return the settings of each process: cores are shared out, and GPUs taken one by one."""
    count, device = settings.processes, torch.device(settings.device)
    threads = settings.threads or max(1, cores() // count)
    if device.type == "mps":
        raise EngineError(f"--processes {count}: a Mac has one MPS device; train in one process")
    if device.type == "cpu":
        return [replace(settings, threads=threads, processes=1)] * count
    first = device.index or 0
    names = [f"{device.type}:{first + rank}" for rank in range(count)]
    for name in names:
        open_device(name, settings.precision)
    return [replace(settings, threads=threads, processes=1, device=name) for name in names]


@dataclass(frozen=True)
class _HelperProcess:
    process: SpawnProcess
    connection: Connection

    def answer(self, rank: int) -> Any:
        """Return what it says; raise the error that it tells of."""
        try:
            said = self.connection.recv()
        except (EOFError, OSError):
            self.process.join(5)
            raise TrainingError(
                f"process {rank} has died (status {self.process.exitcode}); resume the run, "
                "with fewer --processes where memory was short"
            ) from None
        if isinstance(said, Exception):
            raise said
        return said

    def end(self) -> None:
        """Let it end by itself; do not wait for one that hangs."""
        self.connection.close()
        self.process.join(5)
        self.process.kill()


class _Crew:
    """All processes while they work: the engine of this one, and the helpers."""

    def __init__(self, own: TorchEngine, models: tuple[ir.Model, ir.Model], settings: list[EngineSettings]) -> None:
        self._own, self._rest = own, ExitStack()
        # Ended when nobody asks for it any more, and at the end of this process in any case.
        self.close = weakref.finalize(self, self._rest.close)
        folder = self._rest.enter_context(scratch_folder())
        files = (folder / "model.onnx", folder / "teacher.onnx")
        for model, file in zip(models, files, strict=True):
            save_model(model.clone(), file)
        spawn = multiprocessing.get_context("spawn")
        self.helpers: list[_HelperProcess] = []
        for rank, each in enumerate(settings[1:], 1):
            here, there = spawn.Pipe()
            post = Post(Seat(rank, len(settings), folder / "store"), files[0], files[1], each)
            process = spawn.Process(target=assist, args=(there, post), daemon=True)
            process.start()
            there.close()  # or the end of the process would not be seen
            helper = _HelperProcess(process, here)
            self._rest.callback(helper.end)
            self.helpers.append(helper)
        trained = sorted(own.parameters)
        for rank, helper in enumerate(self.helpers, 1):
            if helper.answer(rank) != trained:
                raise EngineError(f"process {rank} found other weights to train than the first one")
        self._rest.callback(leave)
        Seat(0, len(settings), folder / "store").join(open_device(settings[0].device, settings[0].precision))

    def step(self, parts: list[dict[str, AnyArray]], seed: int) -> tuple[StepResult, list[Arrays]]:
        """Return the step of the whole batch, and the carried outputs of each part.

        Raises:
            DtcError: What is wrong with a part.
            TrainingError: A process has died.
        """
        for helper, batch in zip(self.helpers, parts[1:], strict=True):
            helper.connection.send(BatchPart(batch, seed, self._own.state))
        try:
            taken = shared_step(self._own, parts[0], 0, seed)
        except Exception:
            # Where another process fails first, it is its error that tells why, and not that nobody answers here.
            for rank, helper in enumerate(self.helpers, 1):
                if helper.connection.poll(1):
                    helper.answer(rank)
            raise
        outputs = [taken.outputs, *(helper.answer(rank) for rank, helper in enumerate(self.helpers, 1))]
        return taken, [dict(each) for each in outputs]
