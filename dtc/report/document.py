"""What `report.json` holds, declared once: it validates what is written and what is read back.

A number that is not finite is null. Arrays of numbers are rounded to seven digits, which is what float32 tells.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

SCHEMA: Final = "dtc-report/1"


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _rounded(values: Any) -> Any:
    return [float(f"{value:.7g}") for value in values]


Number = Annotated[float | None, BeforeValidator(_finite)]
Numbers = Annotated[tuple[float, ...], BeforeValidator(_rounded)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class File(_Part):
    """A file of a model: its bytes, and the SHA-256 of its content (`sampled:` where it is above 256 MB)."""

    name: str
    bytes: int
    sha256: str


class Model(_Part):
    """A model: the file itself, then the external data that it names."""

    files: tuple[File, ...] = Field(min_length=1)

    @property
    def name(self) -> str:
        """Name of the model's own file."""
        return self.files[0].name

    @property
    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.bytes for file in self.files)


class Ratios(_Part):
    """The three ratios: of the compressed sites, of the whole file, and the stored bits per weight of those sites."""

    sites: float
    file: float
    bits_per_weight: float


class Histogram(_Part):
    """Weights in bins of equal width before and after; counts are of weights.

    `edges` has one number more than the counts. The first and the last bin also count what lies beyond them, so that a
    few outliers do not hide the shape; values that are not finite are not counted. The middle bin is centred at zero.
    """

    edges: Numbers
    before: tuple[int, ...]
    after: tuple[int, ...]


class Spectrum(_Part):
    """Singular values of one matrix, falling: of the original, and of the low-rank product written (`rank` many)."""

    before: Numbers
    after: Numbers


class Weights(_Part):
    """What happened to the weights of a site, all of its matrices together.

    `difference` is the relative squared difference `|W - W'|^2 / |W|^2` of the weights written from the original
    model's; retraining moves weights on purpose, so this is no error then. `zeros` are shares, before and after.
    """

    difference: Number
    zeros: tuple[float, float]
    histogram: Histogram
    spectra: tuple[Spectrum, ...] = ()


class Site(_Part):
    """One site: what was done to it, or why nothing was.

    `error` is the method's own: `|W - W'|^2 / |W|^2` against the weights that it was given; null after retraining,
    whose last weights are gone. `bytes` are before and after, parts shared with other sites counted in full.
    """

    name: str
    role: str
    shape: tuple[int, ...]
    method: str | None
    form: str | None
    detail: str
    bytes: tuple[int, int]
    ratio: float
    bits_per_weight: float
    share_of_file: float = Field(description="bytes before, as a share of the whole file before")
    error: Number
    reason: str | None
    lowered: str | None = Field(None, description="how its readers get the compressed weight, and why")
    weights: Weights | None = None


class Jump(_Part):
    """One distortion: the loss on the step's batch just before and just after it."""

    step: int
    before: Number
    after: Number


class Evaluation(_Part):
    """Distorted weights on the evaluation data."""

    step: int
    loss: Number
    value: Number
    best: bool


class Curve(_Part):
    """The loss of the training steps; each point is of `every` steps: the last one's number, mean, least, greatest."""

    every: int
    step: tuple[int, ...]
    mean: Numbers
    least: Numbers
    greatest: Numbers


class Training(_Part):
    """What a retraining did; `best_step` is the step whose weights are the result, null while there is none."""

    engine: str
    steps: int
    planned: int
    parameters: int
    best_step: int | None
    metric: str | None
    seconds: dict[str, float]
    frozen: dict[str, str]
    notes: tuple[str, ...]
    curve: Curve
    distortions: tuple[Jump, ...]
    evaluations: tuple[Evaluation, ...]


class Metric(_Part):
    """The metric on the evaluation data; `labelled` is false where the original's own outputs stand for labels."""

    name: str
    higher_is_better: bool
    labelled: bool
    before: Number
    after: Number


class Latency(_Part):
    """Seconds of one run."""

    median: float
    p10: float
    p90: float
    runs: int


class Memory(_Part):
    """Resident bytes: of the process before the model is loaded, and at most."""

    idle: int
    peak: int


class Output(_Part):
    """How far one output of the written model is from the original's."""

    name: str
    max_abs: Number
    relative_l2: Number
    snr: Number = Field(description="dB; null where the outputs are equal")
    agreement: Number


class Check(_Part):
    """The written model against the original in ONNX Runtime; pairs are before and after.

    `rounding` is the largest relative L2 difference of its outputs from the distorted dense model's; `kernels` that of
    its outputs on the native kernels from those on the functions in the file, null where no kernel ran. Where
    `quantizers` round activations, `rounding` is measured without them.
    """

    inputs: str
    metric: Metric | None
    latency: tuple[Latency, Latency] | None
    memory: tuple[Memory, Memory] | None
    outputs: tuple[Output, ...]
    rounding: Number
    kernels: Number = None
    quantizers: int = 0
    failures: tuple[str, ...]


class Report(_Part):
    """The whole report. `output`, `ratios` and `check` are null while a run is not finished."""

    schema_: Literal["dtc-report/1"] = Field(SCHEMA, alias="schema")
    created: str
    versions: dict[str, str]
    model: Model
    output: Model | None
    recipe: dict[str, Any]
    ratios: Ratios | None
    check: Check | None
    sites: tuple[Site, ...]
    training: Training | None
