"""Which weights are sites, and how each is read as matrices `[out, in]`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtc.graph import MatrixView, Role, find_sites, load_model


def sites_of(text: str, **arrays: tuple[int, ...]) -> dict[str, object]:
    """Sites of a graph in ONNX text whose named initializers get the given shapes."""
    model = ir.from_onnx_text(text)
    for graph in (model.graph, *model.graph.subgraphs()):
        for name, shape in arrays.items():
            if name in graph.initializers:
                data = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
                graph.initializers[name].const_value = ir.tensor(data, name=name)
    return {site.name: site for site in find_sites(model)}


HEAD = '<ir_version: 8, opset_import: ["" : 17]>\n'


def test_a_matmul_weight_is_read_with_the_reduction_dimension_last() -> None:
    text = HEAD + "g (float[n,2] x) => (float[n,3] y) <float[2,3] w = {1,2,3,4,5,6}> { y = MatMul(x, w) }"
    site = sites_of(text)["w"]
    assert site.role is Role.MATMUL
    np.testing.assert_array_equal(site.matrices(), [[[1, 4], [2, 5], [3, 6]]])


def test_a_left_weight_of_a_matmul_is_read_as_it_is() -> None:
    text = HEAD + "g (float[3,n] x) => (float[2,n] y) <float[2,3] w = {1,2,3,4,5,6}> { y = MatMul(w, x) }"
    np.testing.assert_array_equal(sites_of(text)["w"].matrices(), [[[1, 2, 3], [4, 5, 6]]])


@pytest.mark.parametrize(("trans", "expected"), [(0, [[1, 4], [2, 5], [3, 6]]), (1, [[1, 2, 3], [4, 5, 6]])])
def test_gemm_minds_trans_b(trans: int, expected: list[list[int]]) -> None:
    text = (
        HEAD
        + "g (float[n,m] x) => (float[n,k] y) <float[2,3] w = {1,2,3,4,5,6}>"
        + f"{{ y = Gemm <transB = {trans}> (x, w) }}"
    )
    np.testing.assert_array_equal(sites_of(text)["w"].matrices(), [expected])


def test_weight_side_transpose_cast_identity_and_dropout_are_looked_through() -> None:
    text = (
        HEAD
        + """g (float[n,3] x) => (float[n,2] y) <float[2,3] w = {1,2,3,4,5,6}> {
            a = Identity(w)
            b = Dropout(a)
            c = Transpose <perm = [1, 0]> (b)
            d = Cast <to = 1> (c)
            y = MatMul(x, d)
        }"""
    )
    site = sites_of(text)["w"]
    np.testing.assert_array_equal(site.matrices(), [[[1, 2, 3], [4, 5, 6]]])


def test_a_grouped_convolution_is_one_matrix_a_group() -> None:
    text = HEAD + "g (float[n,4,9,9] x) => (float[n,6,7,7] y) <float[1] w = {0}> { y = Conv <group = 2> (x, w) }"
    site = sites_of(text, w=(6, 2, 3, 3))["w"]
    assert site.matrices().shape == (2, 3, 18)
    np.testing.assert_array_equal(site.matrices()[1, 0], np.arange(54, 72))


def test_a_tied_weight_is_one_site_with_several_readers() -> None:
    text = (
        HEAD
        + """g (int64[n] ids) => (float[n,5] y) <float[1] table = {0}> {
            x = Gather(table, ids)
            t = Transpose <perm = [1, 0]> (table)
            y = MatMul(x, t)
        }"""
    )
    site = sites_of(text, table=(5, 4))["table"]
    assert [reader.role for reader in site.readers] == [Role.EMBEDDING, Role.MATMUL]
    assert [(reader.view.rows, reader.view.cols) for reader in site.readers] == [(5, 4), (5, 4)]


def test_globs_match_names_ops_and_roles() -> None:
    text = HEAD + "g (float[n,2] x) => (float[n,3] y) <float[2,3] w = {1,2,3,4,5,6}> { y = MatMul(x, w) }"
    site = sites_of(text)["w"]
    assert site.matches(["w*"])
    assert site.matches(["MatMul"])
    assert not site.matches(["Gemm", "v*"])


@given(perm=st.permutations([0, 1, 2, 3]), seed=st.integers(0, 99))
def test_a_view_is_undone_by_restore(perm: list[int], seed: int) -> None:
    array = np.random.default_rng(seed).normal(size=(2, 3, 4, 5)).astype(np.float32)
    moved = array.transpose(perm)
    view = MatrixView(tuple(perm), moved.shape[0], moved.shape[1], moved.shape[2] * moved.shape[3])
    np.testing.assert_array_equal(view.restore(view.matrices(array), array.shape), array)


@given(perm=st.permutations([0, 1, 2]), axis=st.integers(0, 2))
def test_a_view_behind_a_transposition_is_that_of_the_array_there(perm: list[int], axis: int) -> None:
    array = np.arange(4 * 6 * 10).reshape(4, 6, 10)
    seen = array.transpose(perm)
    parts = tuple((2, size // 2) if index == axis else (size,) for index, size in enumerate(seen.shape))
    sizes, rest = [size for part in parts for size in part], [index for index in range(4) if index != axis]
    view = MatrixView((axis, *rest), 2, sizes[rest[0]], 120 // sizes[rest[0]], parts)
    behind = view.behind(perm)
    np.testing.assert_array_equal(behind.matrices(array), view.matrices(seen))
    np.testing.assert_array_equal(behind.restore(behind.matrices(array), array.shape), array)


def test_sites_inside_if_branches_are_found(data_dir: Path) -> None:
    sites = find_sites(load_model(data_dir / "onnx" / "silero_vad_v4.onnx"))
    recurrent = [site for site in sites if site.role is Role.LSTM_RECURRENT]
    assert len(recurrent) == 8
    assert {site.matrices().shape for site in recurrent} == {(1, 256, 64)}


def test_an_already_quantized_model_has_no_sites(data_dir: Path) -> None:
    assert find_sites(load_model(data_dir / "onnx" / "shufflenet_v2_12_int8.onnx")) == []
