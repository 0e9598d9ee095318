"""Sources of batches, whether they fit a model, and files that lie."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from types import SimpleNamespace

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dtc.data import check_fit, count_batches, fitted, hold_out, open_source
from dtc.errors import DataError, DtcError


def arrays(count: int = 10) -> dict[str, np.ndarray]:
    return {"x": np.arange(count * 3, dtype=np.float32).reshape(count, 3), "labels": np.arange(count)}


def batches(source, *, epoch=0, seed=0, shuffle=False, start=0):
    return list(source.batches(epoch=epoch, seed=seed, shuffle=shuffle, start=start))


@pytest.fixture(params=["npz", "compressed", "folder", "mixed orders"])
def spec(request, tmp_path):
    match request.param:
        case "npz":
            np.savez(tmp_path / "d.npz", **arrays())
        case "compressed":
            np.savez_compressed(tmp_path / "d.npz", **arrays())
        case "mixed orders":
            np.savez(tmp_path / "d.npz", x=np.asfortranarray(arrays()["x"]), labels=arrays()["labels"])
        case "folder":
            (tmp_path / "d").mkdir()
            for name, array in arrays().items():
                np.save(tmp_path / "d" / f"{name}.npy", array)
            return "d"
    return "d.npz"


def test_arrays_are_cut_into_batches_in_order(tmp_path, spec):
    source = open_source(spec, batch_size=4, base=tmp_path, split="evaluate")
    found = batches(source)
    assert [len(batch["x"]) for batch in found] == [4, 4, 2]
    assert source.length == 3
    for name, array in arrays().items():
        assert np.array_equal(np.concatenate([batch[name] for batch in found]), array)


def test_training_drops_the_short_batch_unless_it_is_the_only_one(tmp_path, spec):
    assert [len(b["x"]) for b in batches(open_source(spec, batch_size=4, base=tmp_path))] == [4, 4]
    assert [len(b["x"]) for b in batches(open_source(spec, batch_size=99, base=tmp_path))] == [10]


@given(seed=st.integers(0, 2**32 - 1), epoch=st.integers(0, 50), start=st.integers(0, 5), size=st.integers(1, 12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_shuffling_is_a_function_of_seed_and_epoch_and_goes_on_anywhere(tmp_path, seed, epoch, start, size):
    np.savez(tmp_path / "d.npz", **arrays())
    source = open_source("d.npz", batch_size=size, base=tmp_path, split="evaluate")
    whole = batches(source, seed=seed, epoch=epoch, shuffle=True)
    rest = batches(source, seed=seed, epoch=epoch, shuffle=True, start=start)
    assert len(rest) == max(0, len(whole) - start)
    for one, other in zip(whole[start:], rest, strict=True):
        assert np.array_equal(one["x"], other["x"])
    assert sorted(np.concatenate([b["labels"] for b in whole])) == list(range(10))
    assert all(np.array_equal(b["x"], arrays()["x"][b["labels"]]) for b in whole)


def test_epochs_are_shuffled_differently(tmp_path, spec):
    source = open_source(spec, batch_size=10, base=tmp_path)
    orders = {tuple(batches(source, epoch=epoch, shuffle=True)[0]["labels"]) for epoch in range(4)}
    assert len(orders) == 4


def test_the_tail_is_held_out(tmp_path, spec):
    train, evaluate = hold_out(open_source(spec, batch_size=4, base=tmp_path), 0.3)
    assert np.concatenate([b["labels"] for b in batches(train)]).tolist() == [0, 1, 2, 3]
    assert np.concatenate([b["labels"] for b in batches(evaluate)]).tolist() == [7, 8, 9]


FUNCTIONS = """
import numpy as np
calls = []
def batches(epoch, batch_size, split="train"):
    calls.append((epoch, split))
    for k in range(3 if split == "train" else 2):
        yield {"x": np.full((batch_size, 3), epoch + k, np.float32), "labels": np.zeros(batch_size, int)}
def plain():
    return [{"x": np.zeros((2, 3))}] * 2
def everything(**options):
    yield {"x": np.array([[options["epoch"], options["seed"], options["batch_size"]]])}
def one_buffer():
    buffer = np.zeros(2)
    for k in range(3):
        buffer[:] = k
        yield {"x": buffer}
def broken():
    yield {"x": np.zeros(1)}
    raise KeyError("speakers")
def strings():
    yield {"x": np.array(["a"])}
def no_dict():
    yield np.zeros(3)
def nothing():
    return ()
number = 3
"""


@pytest.fixture
def functions(tmp_path):
    (tmp_path / "mine.py").write_text(FUNCTIONS)
    return lambda name: open_source(f"mine.py:{name}", batch_size=2, base=tmp_path)


def test_a_function_is_called_anew_every_epoch_with_what_it_declares(functions):
    source = functions("batches")
    assert [b["x"][0, 0] for b in batches(source, epoch=5)] == [5, 6, 7]
    assert [b["x"][0, 0] for b in batches(source, epoch=5, start=2)] == [7]
    assert source.function.__globals__["calls"] == [(5, "train"), (5, "train")]
    assert batches(functions("everything"), epoch=1, seed=9)[0]["x"].tolist() == [[1, 9, 2]]
    assert len(batches(functions("plain"))) == 2
    assert count_batches(functions("batches"), seed=0) == 3


def test_a_function_that_knows_splits_evaluates_on_its_own(functions):
    train, evaluate = hold_out(functions("batches"), 0.1)
    assert (len(batches(train)), len(batches(evaluate))) == (3, 2)


def test_nothing_is_held_out_of_a_function_that_does_not(functions):
    with pytest.raises(DataError, match=r"mine\.py:plain: nothing can be held out .* give --eval-data"):
        hold_out(functions("plain"), 0.1)


def test_a_function_may_use_its_buffer_again(functions):
    assert [b["x"].tolist() for b in batches(functions("one_buffer"))] == [[0, 0], [1, 1], [2, 2]]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("broken", r"KeyError: 'speakers' \(mine\.py, line 19\)"),
        ("strings", "'x' of a batch is of type <U1, not numbers"),
        ("no_dict", "gives ndarray, not batches"),
    ],
)
def test_a_function_that_fails_is_named_with_the_place(functions, name, message):
    with pytest.raises(DataError, match=message):
        batches(functions(name))


def test_an_epoch_without_batches_is_an_error(functions):
    with pytest.raises(DataError, match="an epoch without batches"):
        count_batches(functions("nothing"), seed=0)


def test_a_module_is_found_in_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "dtc_test_module_of_mine.py").write_text(FUNCTIONS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["/nowhere"])
    assert len(batches(open_source("dtc_test_module_of_mine:plain", batch_size=2))) == 2


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("mine.py:number", "has no function 'number'"),
        ("mine.py:absent", "has no function 'absent'"),
        ("other.py:f", "no such file"),
        ("no_such_module_anywhere:f", "cannot be imported"),
        ("absent.npz", "no such file"),
        ("absent", "no such data; give an .npz file"),
        ("empty", "holds no .npy files"),
        ("syntax.py:f", "cannot be imported"),
    ],
)
def test_sources_that_are_not_there(tmp_path, spec, message):
    (tmp_path / "mine.py").write_text(FUNCTIONS)
    (tmp_path / "syntax.py").write_text("def f(:")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=message):
        open_source(spec, batch_size=2, base=tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"x": np.zeros((3, 1)), "labels": np.zeros(4)}, r"same number of samples; has x \[3, 1\], labels \[4\]"),
        ({"x": np.zeros(())}, "same number of samples"),
        ({"x": np.zeros((0, 3))}, "holds no samples"),
        ({}, "holds no arrays"),
        ({"x": np.array(["a", "b"])}, "not numbers"),
        ({"x": np.zeros(2, [("a", "f4")])}, "not numbers"),
    ],
)
def test_arrays_that_are_no_samples(tmp_path, content, message):
    np.savez(tmp_path / "d.npz", **content)
    with pytest.raises(DataError, match=message):
        open_source("d.npz", batch_size=2, base=tmp_path)


def test_a_scalar_is_the_same_in_every_batch(tmp_path):
    np.savez(tmp_path / "d.npz", rate=np.int64(16000), x=np.arange(10.0))
    source = open_source("d.npz", batch_size=4, base=tmp_path)
    train, evaluate = hold_out(source, 0.3)
    assert (train.samples, evaluate.samples) == (7, 3)
    for batch in (*batches(source), *batches(train), *batches(evaluate)):
        assert batch["rate"].shape == ()
        assert batch["rate"] == 16000


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("the pickle was opened",))


def npy(header: str, body: bytes = b"") -> bytes:
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


LIES = {
    "pickle": (npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", pickle.dumps([Bomb()])), "pickle"),
    "huge": (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999,), }", b"1234"), "declares"),
    "overflow": (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296), }"), "declares"),
    "negative": (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -1), }", b"1234"), "declares"),
    "short": (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", b"12345678"), "declares 12 bytes"),
    "long": (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", b"12345678"), "declares 4 bytes"),
    "code": (npy("{'descr': __import__('os').getcwd(), 'fortran_order': False, 'shape': (1,), }"), "not an array"),
    "unclosed": (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,"), "damaged header"),
    "indented": (npy("{}\n  {\n {"), "damaged header"),
    "other": (b"PK not an array at all", "not an array"),
    "empty": (b"", "not an array"),
}


@pytest.mark.parametrize("lie", LIES)
def test_arrays_that_lie(tmp_path, lie):
    body, message = LIES[lie]
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x.npy").write_bytes(body)
    with zipfile.ZipFile(tmp_path / "d.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", body)
    for spec in ("d", "d.npz"):
        with pytest.raises(DataError, match=message):
            open_source(spec, batch_size=2, base=tmp_path)


def test_pickled_arrays_of_numpy_are_refused(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.array([Bomb()], dtype=object))
    with pytest.raises(DataError, match=r"array 'x': holds Python objects \(pickle\), which is refused"):
        open_source("d.npz", batch_size=1, base=tmp_path)


def test_a_zip_that_declares_more_than_it_can_hold_is_refused_before_anything_is_allocated(tmp_path):
    header = npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({1 << 40},), }}")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x.npy", header)
    real, declared = struct.pack("<L", len(header)), struct.pack("<L", 0xFFFFFF00)
    central = buffer.getvalue().rindex(b"PK\x01\x02")
    whole = bytearray(buffer.getvalue())
    assert whole[central + 24 : central + 28] == real
    whole[central + 24 : central + 28] = declared
    (tmp_path / "d.npz").write_bytes(whole)
    with pytest.raises(DataError, match="cannot be as large as it claims"):
        open_source("d.npz", batch_size=1, base=tmp_path)


def test_other_packings_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "d.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", b"1234"))
    with pytest.raises(DataError, match="packed in a way that NumPy does not write"):
        open_source("d.npz", batch_size=1, base=tmp_path)


def test_a_bomb_is_refused_where_memory_ends(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "d.npz", x=np.zeros((1000, 1000)))
    monkeypatch.setattr("dtc.data.npy._limit", lambda: 1_000_000)
    with pytest.raises(DataError, match="more than a quarter of this machine's memory"):
        open_source("d.npz", batch_size=1, base=tmp_path)


@given(data=st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage_anywhere_is_an_error_of_ours_or_harmless(tmp_path, data):
    np.savez_compressed(tmp_path / "d.npz", **arrays())
    whole = bytearray((tmp_path / "d.npz").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "d.npz").write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    try:
        source = open_source("d.npz", batch_size=5, base=tmp_path)
    except DtcError:
        return
    assert batches(source)


def model(**inputs) -> ir.Model:
    values = [
        ir.Value(name=name, type=ir.TensorType(dtype), shape=None if shape is None else ir.Shape(shape))
        for name, (dtype, shape) in inputs.items()
    ]
    return ir.Model(ir.Graph(values, values[:1], nodes=[], opset_imports={"": 21}), ir_version=10)


F, I64, I32 = ir.DataType.FLOAT, ir.DataType.INT64, ir.DataType.INT32
PLAIN = SimpleNamespace(labels="labels", carry={}, lengths=None)


def test_harmless_casts_are_done():
    wanted = model(x=(F, ["N", 3]), ids=(I64, ["N"]), narrow=(I32, ["N"]))
    batch = {
        "x": np.zeros((2, 3), np.uint8),
        "ids": np.array([1, 2], np.int32),
        "narrow": np.array([1, 2**31 - 1], np.int64),
        "labels": np.array([0, 1], np.uint8),
    }
    found = check_fit(wanted, batch, PLAIN)
    assert {name: str(array.dtype) for name, array in found.items()} == {
        "x": "float32",
        "ids": "int64",
        "narrow": "int32",
        "labels": "int64",
    }
    assert found["narrow"].tolist() == [1, 2**31 - 1]
    assert check_fit(model(x=(F, [None])), {"x": np.zeros(2), "labels": np.zeros(2)}, PLAIN)["labels"].dtype == "f4"


@pytest.mark.parametrize(
    ("inputs", "batch", "message"),
    [
        (
            {"x": (F, ["N", 3])},
            {"y": np.zeros((2, 3))},
            r"no array for the model's input 'x' \[N, 3\] float32; it has y",
        ),
        ({"x": (F, ["N", 3])}, {"x": np.zeros((2, 4))}, r"'x' has shape \[2, 4\], the model needs \[N, 3\]$"),
        ({"x": (F, [1, 3])}, {"x": np.zeros((2, 3))}, r"the model needs \[1, 3\]; give --batch-size 1"),
        ({"x": (F, ["N", 3])}, {"x": np.zeros(2)}, r"'x' has shape \[2\]"),
        ({"x": (I64, ["N"])}, {"x": np.zeros(2)}, "'x' has type float64, the model needs int64"),
        ({"x": (I32, ["N"])}, {"x": np.array([2**40])}, "'x' has type int64, the model needs int32"),
        (
            {"x": (F, ["N"])},
            {"x": np.zeros(2), "label": np.zeros(2)},
            "array 'label' is neither an input .* --labels label",
        ),
    ],
)
def test_what_does_not_fit_is_named(inputs, batch, message):
    with pytest.raises(DataError, match=message):
        check_fit(model(**inputs), batch, PLAIN)


def test_carried_inputs_need_not_be_in_the_data():
    wanted = model(x=(F, ["N"]), h0=(F, [1, "N"]))
    carrying = SimpleNamespace(labels="labels", carry={"hn": "h0"}, lengths=None)
    assert list(check_fit(wanted, {"x": np.zeros(2)}, carrying)) == ["x"]
    with pytest.raises(DataError, match="'h0'"):
        check_fit(wanted, {"x": np.zeros(2)}, PLAIN)
    with pytest.raises(DataError, match="no input 'h9'"):
        check_fit(wanted, {"x": np.zeros(2)}, SimpleNamespace(labels="labels", carry={"hn": "h9"}, lengths=None))


def test_lengths_need_not_be_an_input_of_the_model():
    batch = {"x": np.zeros(2), "labels": np.zeros(2), "n": np.array([1, 2])}
    assert "n" in check_fit(model(x=(F, ["N"])), batch, SimpleNamespace(labels="labels", carry={}, lengths="n"))


def test_a_fixed_batch_size_drops_the_short_batch_in_evaluation_too(tmp_path, spec):
    source = open_source(spec, batch_size=4, base=tmp_path, split="evaluate")
    assert [len(b["x"]) for b in batches(fitted(source, model(x=(F, ["N", 3])), PLAIN))] == [4, 4, 2]
    assert [len(b["x"]) for b in batches(fitted(source, model(x=(F, [4, 3])), PLAIN))] == [4, 4]
