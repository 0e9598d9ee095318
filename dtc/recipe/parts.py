"""The parts of a recipe, as validated classes: rules, data, objective, training."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator, model_validator

from dtc.errors import RecipeError
from dtc.recipe import mistakes, reading, writing
from dtc.recipe.flags import Flag


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Rule(_Part):
    """One method for the sites that match; of several rules, the first that matches a site has it."""

    method: str = Field(description="name of a method")
    options: dict[str, Any] = Field(default_factory=dict, description="options of the method")
    include: tuple[str, ...] = Field(("*",), description="globs over site, node, op or role names")
    exclude: tuple[str, ...] = Field((), description="globs of sites to leave alone")

    @field_validator("options")
    @classmethod
    def _plain(cls, options: dict[str, Any]) -> dict[str, Any]:
        return {name: _plain_value(value, name) for name, value in options.items()}


class Schedule(_Part):
    """The learning rate over time.

    `constant`; `step`: times `factor` every `every` epochs; `cosine`: to zero over the whole run; `decay`: times
    `factor` each epoch after the first `after` epochs (what the language-model papers use).
    """

    kind: Annotated[Literal["constant", "step", "cosine", "decay"], Flag("--schedule")] = Field(
        "constant", description="learning rate over time"
    )
    factor: Annotated[float, Flag("--lr-factor")] = Field(
        0.5, gt=0, le=1, description="[step, decay] what the rate is multiplied by"
    )
    every: Annotated[int, Flag("--lr-every")] = Field(1, ge=1, description="[step] epochs between two steps")
    after: Annotated[int, Flag("--lr-after")] = Field(0, ge=0, description="[decay] epochs before it begins")


class Optimizer(_Part):
    """The optimizer and its constants."""

    kind: Annotated[Literal["sgd", "adam", "adamw"], Flag("--optimizer")] = Field("adam", description="the optimizer")
    learning_rate: Annotated[float, Flag("--lr")] = Field(1e-3, gt=0, description="initial learning rate")
    momentum: Annotated[float, Flag("--momentum")] = Field(0.0, ge=0, lt=1, description="[sgd] momentum")
    weight_decay: Annotated[float, Flag("--weight-decay")] = Field(
        0.0, ge=0, description="added to the gradient [sgd, adam] or decoupled [adamw]"
    )
    betas: tuple[float, float] = Field((0.9, 0.999), description="[adam, adamw] decay of the moments")
    epsilon: float = Field(1e-8, gt=0, description="[adam, adamw] added to the root of the second moment")
    clip_norm: Annotated[float | None, Flag("--clip-norm")] = Field(
        None, gt=0, description="upper limit of the norm of all gradients together"
    )


class Objective(_Part):
    """What training minimises and what evaluation reports."""

    loss: Annotated[Literal["auto", "cross-entropy", "ctc", "mse", "bce", "distill"], Flag("--loss")] = Field(
        "auto",
        description="auto: cross-entropy with integer labels, bce where an output has one score for each of them, mse "
        "with float labels, distill without labels, and ctc "
        "with metric label-error: labels [N, L] are what the steps of an output [T, N, classes] spell, -1 behind their "
        "ends, class 0 the blank",
    )
    output: Annotated[str | None, Flag("--loss-output")] = Field(
        None, description="model output that the loss reads; else the first"
    )
    labels: Annotated[str, Flag("--labels")] = Field("labels", description="name of the labels in a batch")
    metric: Annotated[str | None, Flag("--metric")] = Field(
        None,
        description="accuracy, top-5, perplexity, label-error, mse, snr, or accuracy@T (one score a sample, class 1 "
        "above T); else by the labels",
    )
    carry: Annotated[dict[str, str], Flag("--carry")] = Field(
        default_factory=dict,
        description="OUTPUT=INPUT: state carried to the next batch (truncated back-propagation)",
    )
    lengths: Annotated[str | None, Flag("--lengths")] = Field(
        None, description="input that holds the sequence lengths, to mask padded steps"
    )

    @property
    def of_sequences(self) -> bool:
        """Whether labels are what the steps of an output spell."""
        return self.loss == "ctc" or self.metric == "label-error"

    @model_validator(mode="after")
    def _all_steps_spell(self) -> Objective:
        if self.of_sequences and self.lengths is not None:
            raise ValueError(
                "lengths: labels are spelt by all steps; behind a sequence's end a model is to give blanks"
            )
        return self


class Training(_Part):
    """Retraining with occasional distortion."""

    engine: Annotated[str | None, Flag("--engine")] = Field(
        None, description="what runs the training steps; see dtc engine list"
    )
    epochs: Annotated[float, Flag("--epochs")] = Field(1.0, gt=0, description="passes over the data")
    steps: Annotated[int | None, Flag("--steps")] = Field(None, ge=1, description="optimizer steps, instead of epochs")
    mode: Annotated[Literal["deeptwist", "iterative"], Flag("--mode")] = Field(
        "deeptwist", description="distort every so many steps, or at the end of iterations with a restarted schedule"
    )
    iteration_epochs: Annotated[int, Flag("--iteration-epochs")] = Field(
        1, ge=1, description="[iterative] epochs of an iteration"
    )
    patience: Annotated[int, Flag("--patience")] = Field(
        2, ge=1, description="[iterative] iterations without a better score before the run ends"
    )
    distort_every: Annotated[Annotated[int, Field(ge=1)] | Literal["auto"], Flag("--distort-every")] = Field(
        100,
        description="S_D: optimizer steps between two distortions; auto: found by short trials",
    )
    average: Annotated[int, Flag("--average")] = Field(
        0, ge=0, description="[deeptwist] last distortions whose mean is tried as a result, too"
    )
    evaluate_every: Annotated[int | None, Flag("--evaluate-every")] = Field(
        None, ge=1, description="steps between evaluations; else once an epoch"
    )
    checkpoint_every: Annotated[int, Flag("--checkpoint-every")] = Field(
        200, ge=1, description="steps between checkpoints"
    )
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    distill: Annotated[float, Flag("--distill")] = Field(
        0.0,
        ge=0,
        description="weight of the mean squared distance of the scores from the original's, minimised beside a loss of "
        "labels; 0: none",
    )
    freeze: Annotated[tuple[str, ...], Flag("--freeze")] = Field(
        (), description="globs of initializers that stay as they are"
    )
    threads: Annotated[int | None, Flag("--threads")] = Field(
        None, ge=1, description="threads of the engine; else all cores"
    )
    device: Annotated[str, Flag("--device")] = Field(
        "cpu", description="what the engine computes on: cpu, cuda, cuda:1 or mps"
    )
    processes: Annotated[int, Flag("--processes")] = Field(
        1, ge=1, description="that share each batch; with --device cuda each has a GPU of its own"
    )
    precision: Annotated[Literal["float32", "bf16", "fp16"], Flag("--precision")] = Field(
        "float32", description="of the forward and backward pass; weights and their updates are float32 always"
    )

    @field_validator("device")
    @classmethod
    def _known_device(cls, name: str) -> str:
        if re.fullmatch(r"cpu|mps|cuda(:[0-9]+)?", name) is None:
            raise ValueError("no such device: cpu, cuda, cuda:1 (the second one) or mps")
        return name

    @model_validator(mode="after")
    def _between_distortions(self) -> Training:
        if self.mode == "iterative" and (self.average or self.distort_every == "auto"):
            told = "average" if self.average else "distort_every: auto"
            raise ValueError(f"{told} is for distortions every so many steps, not for mode: iterative")
        return self


class Activations(_Part):
    """Quantized activations: what flows into compressed weights, on few levels."""

    bits: Annotated[int | None, Flag("--activation-bits")] = Field(
        None, ge=2, le=8, description="quantize the activations that compressed weights read to so many bits"
    )
    delta: Annotated[float, Flag("--activation-delta")] = Field(
        1e-3,
        ge=0,
        description="element-wise gradient scaling (EWGS) of quantized activations in retraining; 0: straight-through",
    )


class Lean(_Part):
    """What gets smaller beside the weights that methods compress."""

    fold_batch_norm: Annotated[bool, Flag("--fold-batch-norm")] = Field(
        default=True,
        description="BatchNormalization goes into the weight and the bias in front of it, or becomes Mul and Add, once "
        "nothing trains any more",
    )
    rest_bits: Annotated[int | None, Flag("--rest-bits")] = Field(
        None, ge=2, le=8, description="round weights that their method leaves alone to so many bits (uniform)"
    )
    half_vectors: Annotated[bool, Flag("--half-vectors")] = Field(
        default=False,
        description="biases and other vectors in float16, and the scales that BatchNormalization was folded into, "
        "where the outputs allow that",
    )
    strip_names: Annotated[bool, Flag("--strip-names")] = Field(
        default=False,
        description="take out names and descriptions of nodes, and types of what flows between them; inputs, outputs "
        "and initializers keep their names",
    )


class Data(_Part):
    """Where samples come from; see `dtc.data` for what a source may be."""

    train: Annotated[str | None, Flag("--data")] = Field(
        None, description="samples: .npz, folder of .npy, module:function or file.py:function"
    )
    evaluate: Annotated[str | None, Flag("--eval-data")] = Field(
        None, description="likewise, for evaluation; else a held-out tail of the samples"
    )
    batch_size: Annotated[int | None, Flag("--batch-size")] = Field(
        None,
        ge=1,
        description="samples a batch; default: 32, but 1 of arrays where state is carried, whose samples are then the "
        "steps of one stream",
    )
    held_out: Annotated[float, Flag("--held-out")] = Field(
        0.1, gt=0, lt=1, description="share of the samples held out for evaluation"
    )


class Recipe(_Part):
    """A whole compression run, apart from the model itself."""

    format: Literal[1] = 1
    rules: tuple[Rule, ...] = ()
    objective: Objective = Objective()
    data: Data = Data()
    activations: Activations = Activations()
    lean: Lean = Lean()
    training: Training | None = None
    batch_norm: Annotated[Literal["auto", "batch", "frozen"], Flag("--batch-norm")] = Field(
        "auto",
        description="BatchNormalization: batch, train with the moments of the batch (of more than one sample), and "
        "measure the statistics anew on the samples for the compressed weights; frozen, leave them as they are; auto, "
        "train as batch, and without training take those statistics that keep the outputs nearest to the original's",
    )
    lower: Annotated[str, Flag("--lower")] = Field(
        "compute",
        description="what the file is written for: compute, standard, web, scan, storage, int2; see dtc ops targets",
    )
    inline: Annotated[bool, Flag("--inline")] = Field(
        default=False,
        description="write the nodes of dtc's operators in their place, for runtimes that take no functions; the "
        "native library makes such a file no faster",
    )
    costs: Annotated[str | None, Flag("--costs")] = Field(
        None,
        description="file of dtc ops measure-costs: how fast compressed products are on the machine to run on; amx "
        "and avx512 name tables that come with dtc: of processors with AMX, and with AVX-512 VNNI alone",
    )
    custom_ops: Annotated[tuple[str, ...], Flag("--custom-ops")] = Field(
        (), description="library of custom operators that the model needs to run (repeatable)"
    )
    accuracy_level: Annotated[Literal[0, 1, 4], Flag("--accuracy-level")] = Field(
        1,
        description="arithmetic of native kernels on binary codes and codebooks: 0 exact float, 1 numbers of 16 bits "
        "(relative error near 3e-5), 4 numbers of 8 bits (near 9e-3, fastest)",
    )
    seed: Annotated[int, Flag("--seed")] = Field(0, ge=0, lt=2**32, description="of everything random")

    @model_validator(mode="after")
    def _distilled_beside_labels(self) -> Recipe:
        if self.training is not None and self.training.distill and self.objective.loss == "distill":
            raise ValueError("distill is a weight beside a loss of labels, and loss: distill has none; leave one out")
        return self

    @model_validator(mode="after")
    def _data_to_train_on(self) -> Recipe:
        if self.training is not None and self.data.train is None:
            raise ValueError("retraining needs data: give --data")
        return self

    @model_validator(mode="after")
    def _data_to_calibrate_on(self) -> Recipe:
        if self.activations.bits is not None and self.data.train is None:
            raise ValueError("quantized activations need data to take their ranges from: give --data")
        return self

    @property
    def trained_batch_norm(self) -> Literal["batch", "frozen"]:
        """How BatchNormalization is trained."""
        return "frozen" if self.batch_norm == "frozen" else "batch"

    _places: reading.Places = PrivateAttr(default_factory=reading.Places)

    def to_yaml(self) -> str:
        """Return the recipe as YAML; the same recipe gives the same text.

        Defaults are written as well, so that the recipe means the same to a version with others; only what is not
        set at all is left out.
        """
        return writing.write(_set_values(self))

    @classmethod
    def from_yaml(cls, text: str, name: str = "recipe") -> Recipe:
        """Parse and validate.

        Raises:
            RecipeError: Not YAML, or not a recipe; the message names line and column.
        """
        value, places = reading.read(text, name)
        try:
            recipe = cls.model_validate(value)
        except ValidationError as error:
            raise RecipeError(mistakes.describe(error, cls, places)) from error
        recipe._places = places  # noqa: SLF001  # its own
        return recipe

    @classmethod
    def load(cls, path: str | Path) -> Recipe:
        """Read a recipe file.

        Raises:
            RecipeError: The file is missing or not a recipe.
        """
        try:
            with Path(path).open("rb") as file:
                text = file.read(reading.MAX_BYTES + 1).decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"{path}: cannot be read ({error})") from error
        return cls.from_yaml(text, str(path))

    def place(self, path: tuple[str | int, ...]) -> str | None:
        """Return `file:line:column` of a value, e.g. `("rules", 0, "options", "rank")`.

        A value that is not there has the place of what it would be in. None if the recipe was not read from text.
        """
        return self._places.find(path)


def _plain_value(value: Any, name: str) -> Any:
    """Return a value as YAML gives it back: lists for tuples; anything that YAML does not have is refused."""
    if isinstance(value, list | tuple):
        return [_plain_value(item, name) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _plain_value(item, name) for key, item in value.items()}
    if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ValueError(f"{name}: a recipe holds words, finite numbers, lists and mappings, not {value!r}")


def _set_values(part: BaseModel) -> dict[str, Any]:
    found = {}
    for name, field in type(part).model_fields.items():
        value = getattr(part, name)
        # None and () say "not set": left out. Any other default is written, so that it holds for later versions too.
        if value == field.default and (value is None or value == ()):
            continue
        if isinstance(value, dict) and not value:
            continue
        found[name] = _written(value)
    return found


def _written(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return _set_values(value)
    return [_written(item) for item in value] if isinstance(value, tuple) else value
