"""Methods and compositions on every real model: the lowered file computes what the forms say, in both runtimes.

A model has every second of them, which the next model has not.

It does so on the functions that it carries, and on the native kernels, every product on codes being left to them. The
newer runtime is the installed one; the older one is 1.19.2, the private copy that the training engine brings.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from running import eager

from dtc.checking.differences import Comparison
from dtc.deploy.ops.library import library_path
from dtc.errors import DtcError
from dtc.graph import load_model, save_model
from dtc.passes.lower import lower
from dtc.passes.plan import make_plan
from dtc.passes.prepare import normalise, strip_training
from dtc.recipe import Rule
from dtc.sample_inputs import sample_inputs
from dtc.session import runner, session
from dtc.training.engines.ort.install import install

MODELS = [
    "dnsmos_sig_bak_ovr",
    "dtln_model_1",
    "gtcrn_simple",
    "kws_dnn_s",
    "mnist-8",
    "olive_tfbert_qa",
    "ptb_rnnlm_lstm100_derived",
    "resnet20_cifar10_derived",
    "resnet56_cifar10_derived",
    "silero_vad_16k_op15",
    "silero_vad_v3",
    "silero_vad_v4",
    "silero_vad_v5",
    "squeezenet_cifar10",
    "super_resolution",
    "ultraface_rfb320",
]

LARGE_GRAPHS = {
    "dnsmos_sig_bak_ovr",
    "gtcrn_simple",
    "olive_tfbert_qa",
    "ptb_rnnlm_lstm100_derived",
    "resnet56_cifar10_derived",
    "silero_vad_v3",
    "silero_vad_v4",
    "silero_vad_v5",
    "ultraface_rfb320",
}
"""Thousands of small nodes: every fourth is enough there."""

METHODS = {
    "svd": {"rank_ratio": 0.4},
    "prune": {"sparsity": 0.9},
    "binary": {"bits": 2},
    "uniform": {"bits": 4},
    "codebook": {"codewords": 16, "block": 1, "gradient_weight": 0},
    "bins": {"bins": 6},
    "prune+binary": {"sparsity": 0.8, "bits": 1},
    "prune+codebook": {"sparsity": 0.8, "codewords": 8, "block": 1},
    "svd+binary": {"rank_ratio": 0.4, "bits": 3},
    "svd+prune": {"rank_ratio": 0.4, "sparsity": 0.7},
    "prune+svd": {"sparsity": 0.95, "rank_ratio": 0.2},
}

LIMITS = {"functions": 1e-4, "kernels": 5e-4}
"""Relative L2 of outputs. Kernels multiply by binary codes with an error of up to 5e-5, once in each layer and step."""

OLDER = """
import json, sys
sys.path.insert(0, sys.argv[1])
sys.modules["onnxruntime.training"] = None  # it would import PyTorch
import numpy as np, onnxruntime as ort
options, native = ort.SessionOptions(), ort.SessionOptions()
options.log_severity_level = native.log_severity_level = 4
native.register_custom_ops_library(sys.argv[3])
worst = {}
for case in json.load(open(sys.argv[2])):
    feed, wanted = dict(np.load(case["feed"])), np.load(case["wanted"])
    for kernels, given in (("functions", options), ("kernels", native)):
        found = ort.InferenceSession(case["model"], given, providers=["CPUExecutionProvider"]).run(None, feed)
        far = 0.0
        for value, name in zip(found, wanted.files):
            scale = np.linalg.norm(wanted[name].astype(float).ravel())
            far = max(far, float(np.linalg.norm((value.astype(float) - wanted[name]).ravel()) / max(scale, 1e-6)))
        worst[kernels + " " + case["model"]] = far
print(json.dumps([ort.__version__, worst]))
"""


def lowered(source: Path, method: str, mode: str, folder: Path) -> tuple[Path, Path]:
    """Write the distorted model dense, and lowered."""
    model = load_model(source)
    normalise(model)
    plan = make_plan(model, [Rule(method=method, options=METHODS[method])])
    distorted = plan.distort()
    assert set(distorted.forms) | set(distorted.skipped) == {site.name for site in plan.sites}
    for site in plan.sites:
        if site.name in distorted.dense:
            site.assign(distorted.dense[site.name])
    strip_training(model)
    dense, small = folder / f"{source.stem}.{method}.dense.onnx", folder / f"{source.stem}.{method}.{mode}.onnx"
    save_model(model, dense, force=True)
    lower(model, plan.compressed(distorted.forms), eager(mode))
    save_model(model, small)
    return dense, small


@pytest.mark.parametrize("name", MODELS)
def test_a_lowered_model_computes_what_the_forms_say(data_dir: Path, tmp_path: Path, name: str) -> None:
    library = library_path()
    assert library is not None, "the native library of the operators is not built"
    fixed = (
        {"sr": np.array(16000, np.int64)} if name in {"silero_vad_16k_op15", "silero_vad_v4", "silero_vad_v5"} else {}
    )
    source = data_dir / "onnx" / f"{name}.onnx"
    original = runner(session(source, threads=1))
    feed = sample_inputs(load_model(source), original, count=1, seed=0, fixed=fixed)[0]
    np.savez(tmp_path / "feed.npz", **feed)
    cases = []
    share = 5 if name in LARGE_GRAPHS else 2
    dealt = [number for number in range(len(METHODS)) if (number + MODELS.index(name)) % share == 0]
    for number in dealt:
        method = list(METHODS)[number]
        mode = "standard" if number % 4 in (1, 2) else "compute"
        try:
            dense, small = lowered(source, method, mode, tmp_path)
        except DtcError as error:
            assert "is larger than any site allows" in str(error)  # noqa: PT017 - the only reason not to try
            continue
        wanted = runner(session(dense, threads=1))(feed)
        for kernels, limit in LIMITS.items():
            comparison = Comparison()
            comparison.update(wanted, runner(session(small, threads=1, native=kernels == "kernels"))(feed))
            assert not comparison.problems, method
            assert max(each.relative_l2 for each in comparison.differences()) < limit, (method, kernels)
        np.savez(tmp_path / f"{small.stem}.npz", **wanted)
        case = {"model": small, "feed": tmp_path / "feed.npz", "wanted": tmp_path / f"{small.stem}.npz"}
        cases.append({key: str(path) for key, path in case.items()})
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    done = subprocess.run(
        [sys.executable, "-c", OLDER, str(install()), str(tmp_path / "cases.json"), str(library)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    version, worst = json.loads(done.stdout.splitlines()[-1])
    assert version == "1.19.2"
    assert ort.__version__ != version
    assert len(worst) == 2 * len(cases)
    assert len(cases) >= len(dealt) - 1
    for kernels, limit in LIMITS.items():
        assert max(far for case, far in worst.items() if case.startswith(kernels)) < limit, worst
