"""A helper: a process that runs its part of each batch, and gives the first process the gradients."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from dtc.device_arrays import DeviceArray
from dtc.errors import DtcError, TrainingError
from dtc.forms import AnyArray
from dtc.graph import load_model
from dtc.training.draws import step_seed
from dtc.training.engine import Parameters, StepResult
from dtc.training.engine_settings import EngineSettings
from dtc.training.engines.torch.device import open_device
from dtc.training.engines.torch.dtypes import array_of, tensor_of
from dtc.training.engines.torch.engine import TorchEngine
from dtc.training.engines.torch.parallel.group import SHARED, Seat, leave, send_weights, sum_gradients


@dataclass(frozen=True)
class Post:
    """What a helper is made of.

    Attributes:
        seat: Its place among the processes.
        model: The file of the model to train.
        teacher: That of the model that distillation learns from.
        settings: Of its engine; the device is its own.
    """

    seat: Seat
    model: Path
    teacher: Path
    settings: EngineSettings


@dataclass(frozen=True)
class BatchPart:
    """One step of a helper: its part of the batch, the step's seed, and the state of the first process's engine."""

    batch: Mapping[str, AnyArray]
    seed: int
    state: Parameters


def assist(connection: Connection, post: Post) -> None:
    """Take steps until the other end is closed.

    It is sent a `BatchPart` for each, and answers with the carried outputs, or with the error that ends it.
    """
    try:
        engine = TorchEngine(load_model(post.model), post.settings, load_model(post.teacher))
        connection.send(sorted(engine.parameters))
        post.seat.join(open_device(post.settings.device, post.settings.precision))
        while True:
            part: BatchPart = connection.recv()
            for name, array in part.state.items():
                engine.state[name][...] = array
            taken = shared_step(engine, part.batch, post.seat.rank, part.seed)
            connection.send(taken.outputs)
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        pass  # the first process is gone, or wants no more
    except DtcError as error:
        _tell(connection, error)
    except Exception as error:  # noqa: BLE001 - the first process is told of everything
        _tell(connection, TrainingError(f"process {post.seat.rank}: {type(error).__name__}: {error}"))
    finally:
        leave()


def shared_step(engine: TorchEngine, batch: Mapping[str, AnyArray], rank: int, seed: int) -> StepResult:
    """Take a process's part of a step, as all processes do at the same time.

    The first process has the loss and the gradients of the whole batch in the end; outputs are of the part alone.
    """
    names = sorted(engine.parameters)
    send_weights([_tensor(engine.parameters[name]) for name in names])
    # Each part has masks of its own: one seed for all would drop the same units in each.
    taken = engine.step(batch, seed=step_seed(seed, rank) if rank else seed, whole=SHARED)
    gradients = [_tensor(taken.gradients[name]) for name in names]
    loss = torch.tensor([taken.loss], dtype=gradients[0].dtype, device=gradients[0].device)
    *summed, total = sum_gradients([*gradients, loss])
    given = zip(names, summed, strict=True)
    return replace(
        taken, loss=float(total), gradients={name: _like(gradient, engine.parameters[name]) for name, gradient in given}
    )


def _tensor(held: DeviceArray) -> torch.Tensor:
    return held if isinstance(held, torch.Tensor) else tensor_of(held)


def _like(gradient: torch.Tensor, held: DeviceArray) -> DeviceArray:
    return gradient if isinstance(held, torch.Tensor) else array_of(gradient)


def _tell(connection: Connection, error: DtcError) -> None:
    with suppress(OSError):  # nobody is there to be told
        connection.send(error)
