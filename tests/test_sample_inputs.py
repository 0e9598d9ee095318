"""Generated inputs: every model that can be run without knowing more is run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

import dtc.models
from dtc.errors import DataError
from dtc.graph import load_model, save_model
from dtc.sample_inputs import Inputs, batch_dimension, sample_inputs
from dtc.session import runner, session, signature

RATE = {"sr": np.array(16000)}
MODELS = {
    "gtcrn_simple.onnx": None,
    "kws_dnn_s.onnx": None,
    "olive_tfbert_qa.onnx": None,
    "ptb_rnnlm_lstm100_derived.onnx": None,
    "resnet20_cifar10_derived.onnx": None,
    "silero_vad_16k_op15.onnx": RATE,
    "silero_vad_v3.onnx": None,
    "silero_vad_v4.onnx": RATE,
    "silero_vad_v5.onnx": RATE,
    "squeezenet_cifar10.onnx": None,
}


def generate(path: Path, **options: object) -> list[Inputs]:
    return sample_inputs(load_model(path), runner(session(path, threads=1)), **({"count": 3, "seed": 0} | options))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", MODELS)
def test_real_models_run_with_them(name: str, data_dir: Path) -> None:
    path = data_dir / "onnx" / name
    feeds = generate(path, fixed=MODELS[name])
    assert len(feeds) == 3
    run = runner(session(path, threads=1))
    for feed in feeds:
        for array in run(feed).values():
            assert np.isfinite(array).all()


def test_ids_lie_within_their_table(data_dir: Path) -> None:
    feeds = generate(data_dir / "onnx" / "ptb_rnnlm_lstm100_derived.onnx", count=20)
    ids = np.concatenate([feed["ids"].ravel() for feed in feeds])
    assert ids.min() >= 0
    assert 5000 < ids.max() < 10_000
    tokens = generate(data_dir / "onnx" / "olive_tfbert_qa.onnx", count=20)
    assert {int(feed["token_type_ids"].max()) for feed in tokens} == {1}
    assert set(np.unique(np.concatenate([feed["attention_mask"] for feed in tokens]))) == {0, 1}


def test_lengths_lie_within_the_sequence(tmp_path: Path) -> None:
    save_model(dtc.models.build("bilstm-tagger", width=4), tmp_path / "m.onnx")
    feeds = generate(tmp_path / "m.onnx", count=30)
    lengths = np.concatenate([feed["lengths"] for feed in feeds])
    assert set(lengths) == set(range(1, 9))
    assert {feed["x"].shape for feed in feeds} == {(8, 3, 8), (8, 1, 8)}
    assert feeds[-1]["x"].shape == (8, 1, 8)


def test_the_seed_decides(tmp_path: Path) -> None:
    save_model(dtc.models.build("digits-mlp", hidden=4), tmp_path / "m.onnx")
    first, again, other = (generate(tmp_path / "m.onnx", seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a["image"], b["image"]) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0]["image"], other[0]["image"])
    assert not np.array_equal(first[0]["image"], first[1]["image"])
    assert np.concatenate([f["image"].ravel() for f in generate(tmp_path / "m.onnx", count=20)]).std() == pytest.approx(
        1, abs=0.1
    )


def test_given_sizes_and_inputs_are_kept(tmp_path: Path, data_dir: Path) -> None:
    save_model(dtc.models.build("ptb-300", vocabulary=20), tmp_path / "m.onnx")
    feeds = generate(tmp_path / "m.onnx", sizes={"T": 4, "N": 6})
    assert {(f["ids"].shape, f["h0"].shape) for f in feeds} == {((4, 6), (1, 6, 300))}
    ids = np.zeros((2, 5), np.int64)
    feeds = generate(tmp_path / "m.onnx", fixed={"ids": ids})
    assert all(f["ids"] is ids and f["h0"].shape == (1, 5, 300) for f in feeds)
    unnamed = data_dir / "onnx" / "silero_vad_v5.onnx"
    assert generate(unnamed, fixed=RATE, sizes={None: 4})[0]["input"].shape[0] == 4


def test_mistakes_are_named(tmp_path: Path, data_dir: Path) -> None:
    save_model(dtc.models.build("digits-mlp", hidden=4), tmp_path / "m.onnx")
    with pytest.raises(DataError, match="no input is called 'sr'; there are: image"):
        generate(tmp_path / "m.onnx", fixed=RATE)
    with pytest.raises(DataError, match=r"input 'image' float32 \[N, 1, 8, 8\] cannot be float32 \[1, 2, 8, 8\]"):
        generate(tmp_path / "m.onnx", fixed={"image": np.zeros((1, 2, 8, 8), np.float32)})


@pytest.mark.parametrize(
    ("name", "dimension"),
    [
        ("ptb_rnnlm_lstm100_derived.onnx", "N"),
        ("olive_tfbert_qa.onnx", "batch_size"),
        ("silero_vad_v5.onnx", None),
        ("resnet20_cifar10_derived.onnx", "N"),
    ],
)
def test_the_batch_dimension_is_found(name: str, dimension: str | None, data_dir: Path) -> None:
    assert batch_dimension(signature(session(data_dir / "onnx" / name, threads=1))[0]) == dimension


def test_a_model_without_a_batch_dimension(data_dir: Path) -> None:
    with pytest.raises(DataError, match="no free batch dimension"):
        batch_dimension(signature(session(data_dir / "onnx" / "mnist-8.onnx", threads=1))[0])


def attention(seen: str, *, counted: bool) -> ir.Model:
    """A GroupQueryAttention that is given the number of tokens, or has to count them in a mask of size `seen`."""
    q = ir.val("q", ir.DataType.FLOAT, ["batch", "new_len", 16])
    pasts = [ir.val(f"past.{side}", ir.DataType.FLOAT, ["batch", 2, "past_len", 8]) for side in "kv"]
    nodes, inputs = [], [q, *pasts]
    if counted:
        mask = ir.val("mask", ir.DataType.INT64, ["batch", seen])
        axes = ir.val("axes", const_value=ir.tensor(np.array([1])))
        ones = ir.val("ones", const_value=ir.tensor(np.array([1])))
        picked = ir.val("picked", const_value=ir.tensor(np.array(1)))
        count = ir.node("ReduceSum", [mask, axes], {"keepdims": 0})
        last = ir.node("Sub", [count.outputs[0], ones])
        shape = ir.node("Shape", [mask])
        total = ir.node("Gather", [shape.outputs[0], picked])
        casts = [ir.node("Cast", [node.outputs[0]], {"to": 6}) for node in (last, total)]
        nodes, tokens, inputs = [count, last, shape, total, *casts], [n.outputs[0] for n in casts], [*inputs, mask]
        constants = [axes, ones, picked]
    else:
        tokens = [ir.val("seqlens_k", ir.DataType.INT32, ["batch"]), ir.val("total_len", ir.DataType.INT32, [])]
        constants, inputs = [], [*inputs, *tokens]
    names = ["y", "present.k", "present.v"]
    outputs = [ir.val(name, ir.DataType.FLOAT, ["batch", None, None]) for name in names]
    outputs[1].shape = outputs[2].shape = ir.Shape(["batch", 2, None, 8])
    heads = {"num_heads": 2, "kv_num_heads": 2}
    node = ir.node("GroupQueryAttention", [q, q, q, *pasts, *tokens], heads, domain="com.microsoft", outputs=outputs)
    imports = {"": 17, "com.microsoft": 1}
    graph = ir.Graph(
        inputs, outputs, nodes=[*nodes, node], initializers=constants, opset_imports=imports, name="attention"
    )
    return ir.Model(graph, ir_version=10)


@pytest.mark.parametrize("seen", ["total_len", "past_len + new_len", "new_len + past_len", ""])
def test_past_and_new_tokens_add_up(seen: str, tmp_path: Path) -> None:
    save_model(attention(seen, counted=bool(seen)), tmp_path / "m.onnx")
    feeds = generate(tmp_path / "m.onnx")
    run = runner(session(tmp_path / "m.onnx", threads=1))
    pasts = set()
    for feed in feeds:
        past, new = feed["past.k"].shape[2], feed["q"].shape[1]
        pasts.add(past)
        if seen:
            assert feed["mask"].shape[1] == past + new
            assert feed["mask"].all()  # fewer tokens than the sequence is long are none that the operator takes
        else:
            assert feed["total_len"] == past + new
            assert (feed["seqlens_k"] == past + new - 1).all()
        assert run(feed)["present.k"].shape[2] == past + new
    assert max(pasts) > 0
