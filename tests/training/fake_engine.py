"""A small recurrent network in NumPy with exact gradients, and all else that a run needs besides an engine."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx_ir as ir

from dtc.errors import EngineError
from dtc.graph import save_model
from dtc.passes.method import DistortionStep, Weights, make_method
from dtc.passes.plan import Distorted
from dtc.recipe import Objective, Recipe
from dtc.training.engine import StepResult
from dtc.training.engine_kind import EngineKind
from dtc.training.engine_settings import EngineSettings
from dtc.training.evaluate import Evaluation
from dtc.training.loop import Retraining
from dtc.training.schedule import TrainingSchedule
from dtc.training.session import Session

FEATURES, HIDDEN, CLASSES = 6, 12, 3


def network(seed: int = 0) -> ir.Model:
    """`hn = tanh(x W + h0 U)`, `logits = hn V`."""
    rng = np.random.default_rng(seed)

    def value(name, *shape):
        return ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(shape))

    def weight(name, *shape):
        array = rng.normal(size=shape, scale=0.4).astype(np.float32)
        tensor = ir.tensor(array, name=name)
        return ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=tensor.shape, const_value=tensor)

    x, h0 = value("x", "N", FEATURES), value("h0", "N", HIDDEN)
    logits, hn = value("logits", "N", CLASSES), value("hn", "N", HIDDEN)
    W, U, V = weight("W", FEATURES, HIDDEN), weight("U", HIDDEN, HIDDEN), weight("V", HIDDEN, CLASSES)
    a, b = ir.node("MatMul", [x, W]), ir.node("MatMul", [h0, U])
    c = ir.node("Add", [a.outputs[0], b.outputs[0]])
    nodes = [a, b, c, ir.node("Tanh", c.outputs, outputs=[hn]), ir.node("MatMul", [hn, V], outputs=[logits])]
    graph = ir.Graph([x, h0], [logits, hn], nodes=nodes, initializers=[W, U, V], opset_imports={"": 21}, name="network")
    return ir.Model(graph, ir_version=10)


class FakeEngine:
    """Cross-entropy of `network`, with dropout of the inputs that the step's seed decides on."""

    def __init__(self, model: ir.Model, *, dropout: float = 0.2, pause: float = 0.0) -> None:
        self.parameters = {
            name: np.array(value.const_value.numpy()) for name, value in model.graph.initializers.items()
        }
        self.statistics: dict[str, np.ndarray] = {}
        self.positive: frozenset[str] = frozenset()
        self.frozen: dict[str, str] = {}
        self.state: dict[str, np.ndarray] = {}
        self.dropout, self.pause = dropout, pause
        self.losses = 0

    def _forward(self, batch):
        p = self.parameters
        hidden = np.tanh(batch["x"] @ p["W"] + batch["h0"] @ p["U"])
        return hidden, hidden @ p["V"]

    @staticmethod
    def _cross_entropy(logits, labels):
        shifted = logits - logits.max(axis=1, keepdims=True)
        logp = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return -float(logp[np.arange(len(labels)), labels].mean()), np.exp(logp)

    def prove(self, batches):
        """It runs the model as it is."""

    def step(self, batch, *, seed):
        time.sleep(self.pause)
        rng = np.random.default_rng(seed)
        keep = rng.random(batch["x"].shape) >= self.dropout
        batch = {**batch, "x": (batch["x"] * keep / (1 - self.dropout)).astype(np.float32)}
        hidden, logits = self._forward(batch)
        loss, probabilities = self._cross_entropy(logits, batch["labels"])
        slope = probabilities
        slope[np.arange(len(slope)), batch["labels"]] -= 1
        slope /= len(slope)
        inner = (slope @ self.parameters["V"].T) * (1 - hidden**2)
        gradients = {"W": batch["x"].T @ inner, "U": batch["h0"].T @ inner, "V": hidden.T @ slope}
        gradients = {name: np.ascontiguousarray(g, dtype=np.float32) for name, g in gradients.items()}
        return StepResult(loss, gradients, {"hn": hidden})

    def loss(self, batch):
        self.losses += 1
        hidden, logits = self._forward(batch)
        return self._cross_entropy(logits, batch["labels"])[0], {"hn": hidden}

    def moments(self, batch):
        return [], {}

    def predict(self, inputs):
        hidden, logits = self._forward(inputs)
        return {"logits": logits, "hn": hidden}


class Accuracy:
    name = "accuracy"
    higher_is_better = True

    def __init__(self) -> None:
        self.right = self.seen = 0

    def update(self, outputs, labels):
        self.right += int((outputs.argmax(axis=1) == labels).sum())
        self.seen += len(labels)

    def value(self):
        return self.right / self.seen


def distort(parameters, at: DistortionStep, rank: int = 2) -> Distorted:
    """Low rank of W and U by the real method."""
    method = make_method("svd", {"rank": rank})
    weights = [Weights(name, np.ascontiguousarray(parameters[name].T)[None], name) for name in ("W", "U")]
    forms = method.distort(weights, at)
    dense = {name: np.ascontiguousarray(form[0].dense().T) for name, form in forms.items()}
    return Distorted(dense, forms, {"V": "no rule of the recipe matches it"})


class FakePlan:
    """One function as the plan of a run."""

    needs: frozenset = frozenset()
    compensated = ()

    def __init__(self, function=distort) -> None:
        self.function = function

    def distort(self, parameters, at, previous, gradients, grams=None):
        return self.function(parameters, at)

    def at_full_strength(self, at):
        return True

    def masks(self, forms):
        return {}

    def latents(self, forms, trained):
        return None


def samples(count: int = 96, seed: int = 0) -> dict[str, np.ndarray]:
    """A task that the network can learn."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, FEATURES)).astype(np.float32)
    labels = (x @ np.random.default_rng(99).normal(size=(FEATURES, CLASSES))).argmax(axis=1)
    return {"x": x, "labels": labels}


def make_run_inputs(folder: Path, **training) -> tuple[Recipe, Path]:
    """Write a model and data; return a recipe for them and the model's path."""
    save_model(network(), folder / "model.onnx")
    np.savez(folder / "data.npz", **samples())
    defaults = {"steps": 60, "distort_every": 7, "evaluate_every": 10, "checkpoint_every": 9}
    recipe = Recipe.model_validate(
        {
            "rules": [{"method": "svd", "options": {"rank": 2}}],
            "objective": {"carry": {"hn": "h0"}, "metric": "accuracy"},
            "data": {"train": "data.npz", "batch_size": 16},
            "training": {**defaults, **training},
            "seed": 5,
        }
    )
    return recipe, folder / "model.onnx"


@dataclass
class FakeJournal:
    """Keeps everything in memory."""

    events: list = field(default_factory=list)
    checkpoints: list = field(default_factory=list)
    bests: list = field(default_factory=list)

    def log(self, event):
        self.events.append(event)

    def checkpoint(self, session):
        parameters = session.engine.parameters
        self.checkpoints.append((session.progress.step, {name: array.copy() for name, array in parameters.items()}))

    def keep_best(self, best, parameters, distorted):
        self.bests.append((best, {name: array.copy() for name, array in parameters.items()}, distorted.forms))

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


def make_retraining(source, evaluate, *, model=None, engine=None, carry=None, **options) -> Retraining:
    """A retraining of the fake engine that leaves its traces in memory."""
    model = model or network()
    engine = engine or FakeEngine(model)
    defaults = {"steps": 20, "distort_every": 5, "evaluate_every": None, "checkpoint_every": 6}
    optimizer = options.pop("optimizer", {"learning_rate": 0.01})
    training = {name: value for name, value in {**defaults, **options}.items() if value is not None}
    recipe = Recipe.model_validate(
        {
            # Without distortions there are no rules.
            "rules": [] if options.get("distort_every", 1) is None else [{"method": "svd", "options": {"rank": 2}}],
            "objective": {"carry": {"hn": "h0"} if carry is None else carry},
            "data": {"train": "-"},
            "training": {**training, "optimizer": optimizer},
            "seed": 1,
        }
    )
    session = Session.begin(model, recipe, engine, FakePlan())
    session.progress.steps = recipe.training.steps
    return Retraining(
        session=session,
        data=source,
        evaluation=Evaluation(evaluate, session.carry, Accuracy, Objective(), 1),
        schedule=TrainingSchedule.of(recipe, recipe.training.steps),
        journal=FakeJournal(),
    )


def make_engine(model: ir.Model, settings: EngineSettings, teacher: ir.Model | None) -> FakeEngine:
    """The fake engine as a factory makes it: without dropout, which `network` has not, and for `network` alone."""
    for node in model.graph:
        if node.op_type not in ("MatMul", "Add", "Tanh") or set(model.graph.initializers) != {"W", "U", "V"}:
            raise EngineError(f"node {node.name!r}: the fake engine trains `network` alone, and that has no such node")
    return FakeEngine(model, dropout=0.0)


ENGINE = EngineKind(
    name="fake",
    title="fake engine 1.0",
    device="NumPy",
    factory="fake_engine:make_engine",
    unavailable=lambda: None,
    installed=lambda: Path(__file__).parent,
    install=list,
)
