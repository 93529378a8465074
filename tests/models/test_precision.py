from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from itr_deploy.bundle.manifest import Precision
from itr_deploy.models.layers import bigru_two_pass
from itr_deploy.models.precision import DTYPES, full_precision, matrix_precision

HALVES: list[Precision] = ["float16", "bfloat16"]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


A, B, BIAS = random(3, 8), random(8, 5, seed=1), random(5, seed=2)
IMAGE, KERNEL, SUMMAND = random(2, 1, 6, 8), random(5, 1, 2, 8, seed=1), random(3, 5, seed=3)
PRODUCTS = {
    "operator": lambda a, b: a @ b,
    "matmul": torch.matmul,
    "method": Tensor.matmul,
    "linear": lambda a, b: functional.linear(a, b.T, BIAS),
    "addmm": lambda a, b: torch.addmm(SUMMAND, a, b),
}
CONVOLUTIONS = {
    "two axes": lambda: functional.conv2d(IMAGE, KERNEL, BIAS),
    "one axis": lambda: functional.conv1d(IMAGE[:, 0], KERNEL[..., 0].repeat(1, 6, 1), BIAS),
}


@pytest.mark.parametrize("precision", HALVES)
@pytest.mark.parametrize("name", PRODUCTS)
def test_the_operands_of_a_product_are_rounded_and_its_result_is_float32(
    name: str, precision: Precision
) -> None:
    dtype = DTYPES[precision]
    exact = PRODUCTS[name](A, B)
    with matrix_precision(precision):
        got = PRODUCTS[name](A, B)
    rounded = (A.to(dtype) @ B.to(dtype)).float()
    assert got.dtype == torch.float32
    assert not torch.equal(got, exact)
    plain = A @ B
    torch.testing.assert_close(got, rounded + (exact - plain), atol=1e-5, rtol=0)


@pytest.mark.parametrize("precision", HALVES)
@pytest.mark.parametrize("axes", CONVOLUTIONS)
def test_a_convolution_is_a_product_too(axes: str, precision: Precision) -> None:
    exact = CONVOLUTIONS[axes]()
    with matrix_precision(precision):
        got = CONVOLUTIONS[axes]()
    assert got.dtype == torch.float32
    assert 0 < float((got - exact).abs().max()) < 0.1


@pytest.mark.parametrize("precision", HALVES)
def test_what_is_no_product_stays_exact(precision: Precision) -> None:
    def figures() -> list[Tensor]:
        norm = A / (A.abs().sum(-1, keepdim=True) + 1e-8)
        return [norm, functional.layer_norm(A, (8,)), (9 * A).softmax(-1), A.mean(1), A * A]

    with matrix_precision(precision):
        inside = figures()
    assert all(map(torch.equal, inside, figures()))


def test_a_family_can_keep_a_product_in_float32() -> None:
    exact = A @ B

    @full_precision()
    def marked() -> Tensor:
        return A @ B

    with matrix_precision("float16"):
        assert torch.equal(marked(), exact)
        with full_precision():
            assert torch.equal(A @ B, exact)
        assert not torch.equal(A @ B, exact)


def test_float32_changes_nothing() -> None:
    exact = A @ B
    with matrix_precision("float32"):
        assert torch.equal(A @ B, exact)


@pytest.mark.parametrize("product", [lambda: torch.einsum("ij,jk->ik", A, B), lambda: A.mm(B)])
def test_a_product_without_a_half_form_is_an_error_not_float32(product) -> None:
    with matrix_precision("float16"), pytest.raises(NotImplementedError, match="half-precision"):
        product()


@pytest.mark.parametrize(("precision", "rounded"), [("float16", True), ("bfloat16", False)])
def test_recurrent_cells_are_float16_but_never_bfloat16(
    precision: Precision, rounded: bool
) -> None:
    rnn = nn.GRU(6, 4, bidirectional=True, batch_first=True)
    x, lengths = random(3, 5, 6), torch.tensor([5, 2, 1])
    with torch.inference_mode():
        exact = bigru_two_pass(rnn, x, lengths)
        with matrix_precision(precision):
            got = bigru_two_pass(rnn, x, lengths)
    assert got.dtype == torch.float32
    assert torch.equal(got, exact) is not rounded
    torch.testing.assert_close(got, exact, atol=5e-3, rtol=0)
