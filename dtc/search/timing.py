"""What a model spends its time on, and how long a file takes beside it: as a goal by latency needs to know.

A site's share of a run comes from ONNX Runtime's profile of the model's nodes, on one thread and without fusions, so
that nodes keep their names. A file is run in turns with the original, in one process, so that whatever slows one down
slows the other.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import onnxruntime as ort

from dtc.checking.measurements import MEASURED_SESSION, measure_latency
from dtc.custom_ops import register_custom_ops
from dtc.data import Batch
from dtc.graph import Site, load_model
from dtc.graph.signature import Arrays, input_specs, zero_state
from dtc.recipe import Objective
from dtc.scratch import scratch_folder
from dtc.session import runner, session

_SECONDS = 1.0
"""For measuring a file and the original together."""

_RUNS = 3
_KERNEL = "_kernel_time"


def site_shares(model: Path, sites: Sequence[Site], batch: Batch, objective: Objective) -> dict[str, float]:
    """Return which share of the time of a run each site's readers take, by site."""
    feed = inputs_of(model, batch, objective)
    with scratch_folder() as folder:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.enable_profiling = True
        options.profile_file_prefix = str(folder / "profile")
        register_custom_ops(options)
        running = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        names = [each.name for each in running.get_inputs()]
        for _ in range(_RUNS):
            running.run(None, {name: feed[name] for name in names})
        events = json.loads(Path(running.end_profiling()).read_text(encoding="utf-8"))
    taken: Counter[str] = Counter()
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
            taken[event["name"].removesuffix(_KERNEL)] += event["dur"]
    total = max(taken.total(), 1)
    return {site.name: sum(taken[reader.node_name] for reader in site.readers) / total for site in sites}


def latency_ratio(original: Path, file: Path, batch: Batch, objective: Objective) -> float:
    """Return how long a run of a file takes, as a share of the original's: medians, on one thread."""
    feed = inputs_of(original, batch, objective)
    sessions = [session(path, threads=1, settings=MEASURED_SESSION) for path in (original, file)]
    before, after = measure_latency([partial(runner(each), feed) for each in sessions], seconds=_SECONDS)
    return after.median / before.median


def inputs_of(model: Path, batch: Batch, objective: Objective) -> Arrays:
    """Return the inputs of one run: a batch, and zeros for the state that is carried."""
    given = {name: array for name, array in batch.items() if name != objective.labels}
    return given | zero_state(input_specs(load_model(model)), objective.carry.values(), given)
