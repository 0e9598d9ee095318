"""The data sets: shapes, order, completeness, and what is said when one is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

import dtc.models
from dtc.errors import DataError
from dtc.models import datasets
from dtc.models.datasets import small_digits


def test_digits_are_those_of_scikit_learn() -> None:
    bunch = load_digits()
    test = next(datasets.digits_test())
    np.testing.assert_array_equal(test["image"][:, 0] * 16, bunch.images[4::5])
    np.testing.assert_array_equal(test["labels"], bunch.target[4::5])


def test_digits_are_split_without_loss() -> None:
    train = np.concatenate([b["labels"] for b in datasets.digits()])
    test = np.concatenate([b["labels"] for b in datasets.digits_test()])
    assert (len(train), len(test)) == (1438, 359)
    assert set(np.unique(test)) == set(range(10))
    batch = next(iter(datasets.digits(batch_size=7)))
    assert batch["image"].shape == (7, 1, 8, 8)
    assert batch["image"].dtype == np.float32
    assert 0 <= batch["image"].min() < batch["image"].max() <= 1


def test_an_epoch_is_a_permutation_of_the_same_samples() -> None:
    def pixels(**options: int) -> np.ndarray:
        return np.concatenate([b["image"] for b in datasets.digits(**options)]).reshape(1438, 64)

    assert np.array_equal(pixels(seed=1, epoch=2), pixels(seed=1, epoch=2))
    for other in (pixels(seed=1, epoch=3), pixels(seed=2, epoch=2)):
        assert not np.array_equal(pixels(seed=1, epoch=2), other)
        assert sorted(map(bytes, pixels(seed=1, epoch=2))) == sorted(map(bytes, other))


def test_columns_are_the_image_turned_and_trimmed() -> None:
    whole, columns = next(datasets.digits_test()), next(datasets.digit_columns_test())
    assert columns["x"].shape == (8, 359, 8)
    assert columns["lengths"].dtype == np.int32
    assert set(columns["lengths"]) == {3, 4, 5, 6, 7}
    for index in range(359):
        picture = whole["image"][index, 0].T
        used = np.flatnonzero(picture.any(axis=1))
        expected = np.zeros((8, 8), np.float32)
        expected[: used[-1] - used[0] + 1] = picture[used[0] : used[-1] + 1]
        np.testing.assert_array_equal(columns["x"][:, index], expected)
        assert columns["lengths"][index] == used[-1] - used[0] + 1


def test_tags_are_padded() -> None:
    batch = next(datasets.digit_column_tags_test())
    plain = next(datasets.digit_columns_test())
    assert ((batch["labels"] >= 0).sum(axis=0) == batch["lengths"]).all()
    assert (batch["labels"][0] == plain["labels"]).all()


def test_mnist(data_dir: Path) -> None:
    test = list(datasets.mnist_test())
    assert sum(len(b["labels"]) for b in test) == 10_000
    assert test[0]["image"].shape == (500, 1, 28, 28)
    assert test[0]["labels"][:5].tolist() == [7, 2, 1, 0, 4]  # as published
    train = next(datasets.mnist(batch_size=50))
    assert train["image"].dtype == np.float32
    assert train["image"].max() == 1
    assert train["labels"].shape == (50,)
    assert next(datasets.mnist_test(batch_size=5))["labels"].tolist() == [7, 2, 1, 0, 4]
    held_out = list(datasets.mnist(batch_size=500, split="evaluate"))
    assert sum(len(b["labels"]) for b in held_out) == 5_000


def test_penn_treebank_is_the_published_one(data_dir: Path) -> None:
    batches = list(datasets.ptb())
    assert len(batches) == 1327  # Zaremba's batch 20 x 35
    assert {b["ids"].shape for b in batches} == {(35, 20)}
    assert max(int(b["ids"].max()) for b in batches) == 9999
    assert batches[0]["ids"][:3, 0].tolist() == [0, 1, 2]  # the vocabulary is in the order of first appearance
    assert sum(1 for _ in datasets.ptb_30()) == 1549  # Xu's batch 20 x 30
    assert {b["ids"].shape for b in datasets.ptb_20()} == {(20, 20)}


def test_the_text_goes_on_from_batch_to_batch(data_dir: Path) -> None:
    for batches in (datasets.ptb_valid(), datasets.ptb_test(), iter(list(datasets.ptb())[:50])):
        previous = None
        for batch in batches:
            np.testing.assert_array_equal(batch["ids"][1:], batch["labels"][:-1])
            if previous is not None:
                np.testing.assert_array_equal(batch["ids"][0], previous)
            previous = batch["labels"][-1]


def test_evaluation_reads_every_word(data_dir: Path) -> None:
    assert sum(b["labels"].size for b in datasets.ptb_valid()) == 73_760 - 1
    assert sum(b["labels"].size for b in datasets.ptb_test()) == 82_430 - 1
    assert next(datasets.ptb(split="evaluate"))["ids"].shape == (256, 1)


@pytest.mark.parametrize("name", ["mnist", "mnist_test", "ptb", "ptb_30", "ptb_valid", "ptb_test"])
def test_a_missing_data_set_is_named(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    function = getattr(datasets, name)
    monkeypatch.delenv("DTC_DATA", raising=False)
    with pytest.raises(DataError, match=r"DTC_DATA is not set.*(mnist\.npz|ptb)"):
        next(iter(function()))
    monkeypatch.setenv("DTC_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"no such file or folder; put (mnist\.npz|ptb) there"):
        next(iter(function()))


def test_damaged_data_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DTC_DATA", str(tmp_path))
    path = tmp_path / "mnist.npz"
    path.write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(DataError, match=r"not MNIST as \.npz"):
        next(datasets.mnist())
    arrays = {
        "y_train": np.zeros(4, np.uint8),
        "x_test": np.zeros((2, 28, 28), np.uint8),
        "y_test": np.zeros(2, np.uint8),
    }
    for wrong in (np.zeros((4, 28, 27), np.uint8), np.zeros((5, 28, 28), np.uint8), np.zeros((4, 28, 28))):
        np.savez(path, x_train=wrong, **arrays)
        with pytest.raises(DataError, match=r"x_train is .* which is not MNIST's"):
            next(datasets.mnist())
    np.savez(path, x_train=np.array([object()]), **arrays)
    with pytest.raises(DataError, match=r"not MNIST as \.npz"):  # no pickle is read
        next(datasets.mnist())


def test_damaged_text_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DTC_DATA", str(tmp_path))
    folder = tmp_path / "ptb"
    folder.mkdir()
    (folder / "ptb.train.txt").write_text(" a b c\n a b\n" * 100)
    with pytest.raises(DataError, match=r"ptb\.valid\.txt: cannot be read"):
        next(datasets.ptb_valid())
    (folder / "ptb.valid.txt").write_text(" a zebra\n")
    with pytest.raises(DataError, match=r"ptb\.valid\.txt holds the word 'zebra'"):
        next(datasets.ptb_valid())
    with pytest.raises(DataError, match="batch size of 20 leaves columns of 35 words"):
        next(datasets.ptb())
    batch = next(datasets.ptb(batch_size=10))
    assert batch["ids"][:8, 0].tolist() == [0, 1, 2, 3, 0, 1, 3, 0]


def test_letters_are_numbered_and_strange_ones_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DTC_DATA", str(tmp_path))
    (tmp_path / "ptb").mkdir()
    (tmp_path / "ptb" / "ptb.train.txt").write_text("abca" * 100)
    (tmp_path / "ptb" / "ptb.valid.txt").write_text("abd")
    batch = next(datasets.ptb_letters(batch_size=2))
    assert batch["ids"][:5, 0].tolist() == [0, 1, 2, 0, 0]
    assert batch["labels"][:4, 0].tolist() == [1, 2, 0, 0]
    with pytest.raises(DataError, match=r"ptb\.valid\.txt holds the letter 'd'"):
        next(datasets.ptb_letters(split="evaluate"))


def test_spoken_digits_are_split_by_takes_and_delayed_by_the_seed(data_dir: Path) -> None:
    test = list(datasets.spoken_digits_test())
    assert [len(batch["labels"]) for batch in test] == [100, 100, 100]
    assert np.bincount(np.concatenate([batch["labels"] for batch in test])).tolist() == [30] * 10
    frames = next(datasets.spoken_frames_test())
    assert frames["x"].shape == (48, 100, 40)
    np.testing.assert_array_equal(frames["x"].transpose(1, 0, 2), test[0]["image"][:, 0])
    for clip, length in zip(test[0]["image"][:, 0], frames["lengths"], strict=True):
        assert clip[:length].any(axis=1).all()
        assert not clip[length:].any()
    held_out = np.concatenate([batch["labels"] for batch in datasets.spoken_digits(split="evaluate")])
    assert np.bincount(held_out).tolist() == [30] * 10
    first, again, other = (next(datasets.spoken_digits(epoch=epoch))["image"] for epoch in (0, 0, 1))
    assert first.shape == (32, 1, 48, 40)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_sequences_join_clips_of_one_speaker_to_two_to_five_digits(data_dir: Path) -> None:
    first, again, other = (next(datasets.spoken_sequences(epoch=epoch)) for epoch in (0, 0, 1))
    assert first["x"].shape[:2] == (32, 1)
    for name in ("x", "lengths", "labels"):
        np.testing.assert_array_equal(first[name], again[name])
    assert first["labels"].shape == (32, 5)
    assert (first["labels"] != other["labels"]).any()
    for x, length, labels in zip(first["x"][:, 0], first["lengths"], first["labels"], strict=True):
        assert x[:length].any(axis=1).all()
        assert not x[length:].any()
        assert 2 <= (labels > 0).sum() == (labels != -1).sum()
    # Each training clip is in an epoch once, but for one that a speaker may have left; test clips are four times.
    counts = {
        "train": np.concatenate([each["labels"].ravel() for each in datasets.spoken_sequences(batch_size=100)]),
        "test": np.concatenate([each["labels"].ravel() for each in datasets.spoken_sequences_test()]),
    }
    found = {name: np.bincount(labels[labels > 0], minlength=11)[1:] for name, labels in counts.items()}
    assert found["train"].sum() == pytest.approx(2400, abs=6)
    assert found["test"].sum() == pytest.approx(4 * 300, abs=24)
    assert found["test"].max() <= 4 * 30


def test_damaged_clips_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DTC_DATA", str(tmp_path))
    np.savez(tmp_path / "fsdd_8khz.npz", samples=np.zeros(3, np.int16))
    with pytest.raises(DataError, match=r"not spoken digits as \.npz with samples, offsets, label, speaker, index"):
        next(datasets.spoken_digits())


def test_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_digits, "find_spec", lambda name: None)
    small_digits._digits.cache_clear()
    with pytest.raises(DataError, match=r"pip install 'dtc\[examples\]'"):
        next(datasets.digits())


@pytest.mark.parametrize("name", ["digits-mlp", "digits-cnn", "bilstm-classifier", "bilstm-tagger"])
def test_the_data_of_a_plan_is_named_like_the_inputs_of_its_model(name: str) -> None:
    plan = dtc.models.plan(name)
    inputs = {value.name for value in dtc.models.build(name).graph.inputs}
    for source in (plan.data.train, plan.data.evaluate):
        batch = next(getattr(datasets, str(source).partition(":")[2])())
        assert set(batch) == inputs | {"labels"}


@pytest.mark.parametrize("name", ["lenet-5", "lenet-300-100", "ptb-small", "ptb-300"])
def test_likewise_where_the_data_is_downloaded(name: str, data_dir: Path) -> None:
    plan = dtc.models.plan(name)
    inputs = {value.name for value in dtc.models.build(name).graph.inputs} - {"h0", "c0"}
    for source in (plan.data.train, plan.data.evaluate):
        batch = next(getattr(datasets, str(source).partition(":")[2])())
        assert set(batch) == inputs | {"labels"}


def test_cifar_is_normalised_split_and_augmented_by_the_seed(data_dir: Path) -> None:
    train = next(datasets.cifar10(batch_size=100))
    assert train["x"].shape == (100, 3, 32, 32)
    assert train["x"].dtype == np.float32
    again = next(datasets.cifar10(batch_size=100))
    np.testing.assert_array_equal(train["x"], again["x"])
    other = next(datasets.cifar10(batch_size=100, epoch=1))
    assert (train["labels"] != other["labels"]).any()
    held_out = list(datasets.cifar10(batch_size=250, split="evaluate"))
    assert sum(len(batch["labels"]) for batch in held_out) == 1000
    test = next(datasets.cifar10_test(batch_size=200))
    assert test["labels"].shape == (200,)
    pixels = test["x"].transpose(0, 2, 3, 1) * [0.229, 0.224, 0.225] + [0.485, 0.456, 0.406]
    np.testing.assert_allclose(pixels * 255, np.round(pixels * 255), atol=1e-3)
