import pytest
import torch

from openjscc.models.layers import GDN, ChannelAttention, Downsample, Upsample
from openjscc.models.layers.shortcut import LatentGain, block_analysis, block_synthesis, filter_boundaries, lapped_filter


def test_gdn_is_its_formula_and_igdn_multiplies() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 5, 4, 3)
    for inverse in (False, True):
        layer = GDN(5, inverse=inverse)
        with torch.no_grad():
            layer.gamma.uniform_(0.05, 0.5)
            layer.beta.uniform_(0.5, 1.5)
        beta, gamma = layer.beta**2 - 2.0**-36, layer.gamma**2 - 2.0**-36
        norm = torch.empty_like(x)
        for i in range(5):
            norm[:, i] = (beta[i] + sum(gamma[i, j] * x[:, j] ** 2 for j in range(5))).sqrt()
        expected = x * norm if inverse else x / norm
        assert torch.allclose(layer(x), expected, atol=1e-5)


def test_gdn_parameters_stay_positive_and_grow_back() -> None:
    layer = GDN(3)
    with torch.no_grad():
        layer.gamma.fill_(-1.0)
        layer.beta.fill_(-1.0)
    x = torch.randn(1, 3, 8, 8)
    assert torch.isfinite(layer(x)).all()
    layer(x).square().sum().backward()  # a larger norm makes the output smaller: gradient descent raises beta
    assert layer.beta.grad is not None
    assert (layer.beta.grad < 0).all()


def test_attention_scales_channels_by_the_conditions() -> None:
    torch.manual_seed(0)
    layer = ChannelAttention(6, conditions=1, hidden=4)
    x = torch.randn(2, 6, 5, 5)
    y = layer(x, torch.tensor([[-1.0], [1.0]]))
    ratio = (y / x).flatten(2)
    assert torch.allclose(ratio.amax(2), ratio.amin(2), atol=1e-4)
    assert ((ratio > 0) & (ratio < 1)).all()
    assert not torch.allclose(y, layer(x, torch.tensor([[1.0], [1.0]])))


def test_down_and_up_fit_each_other() -> None:
    x = torch.randn(1, 3, 16, 24)
    for kernel in (3, 5, 9):
        for subpixel in (False, True):
            down = Downsample(3, 8, kernel, 2)(x)
            assert down.shape[2:] == (8, 12)
            assert Upsample(8, 3, kernel, 2, subpixel=subpixel)(down).shape == x.shape


@pytest.mark.parametrize("block", [8, 16])
def test_a_lapped_transform_is_undone_by_its_synthesis(block: int) -> None:
    x = torch.rand(2, 3, 3 * block, 4 * block, generator=torch.Generator().manual_seed(0))
    count = 3 * block**2
    with torch.no_grad():
        y = block_synthesis(count, block, lapped=True)(block_analysis(count, block, lapped=True)(x))
    assert torch.allclose(y, x, atol=1e-4)


@pytest.mark.parametrize(("block", "plain_db", "lapped_db"), [(8, 8.83, 9.22), (16, 9.46, 9.76)])
def test_the_lapped_transform_has_the_coding_gain_of_malvars(block: int, plain_db: float, lapped_db: float) -> None:
    """Of an AR(1) source with correlation 0.95: H. S. Malvar, Signal Processing with Lapped Transforms, 1992, has 9.22 dB for
    8 coefficients; a DCT has 8.83 dB."""
    length = 6 * block
    place = torch.arange(length, dtype=torch.float64)
    covariance = 0.95 ** (place[:, None] - place).abs()
    index = torch.arange(block, dtype=torch.float64)
    dct = torch.cos(torch.pi * (2 * index + 1) * index[:, None] / (2 * block)) * (2 / block) ** 0.5
    dct[0] /= 2**0.5
    for matrix, expected in ((torch.eye(block, dtype=torch.float64), plain_db), (lapped_filter(block), lapped_db)):
        whole = torch.eye(length, dtype=torch.float64)
        for start in range(block // 2, length - block, block):
            whole[start : start + block, start : start + block] = matrix
        transform = torch.block_diag(*[dct] * 6) @ whole
        variance = (transform @ covariance @ transform.T).diagonal()[2 * block : 3 * block]
        assert -10 * variance.log10().mean().item() == pytest.approx(expected, abs=0.006)


def test_the_filter_is_orthogonal_and_keeps_what_is_constant() -> None:
    matrix = lapped_filter(16)
    assert torch.allclose(matrix @ matrix.T, torch.eye(16, dtype=torch.float64), atol=1e-12)
    flat = filter_boundaries(torch.full((1, 1, 48, 32), 0.7, dtype=torch.float64), matrix)
    assert torch.allclose(flat, torch.full_like(flat, 0.7))


def test_the_gain_of_the_latent_starts_at_one() -> None:
    layer = LatentGain(6, 3)
    x = torch.randn(2, 6, 4, 5)
    assert torch.equal(layer(x, torch.randn(2, 3)), x)
    with torch.no_grad():
        layer.expand.bias.fill_(1.0)
    assert torch.allclose(layer(x, torch.zeros(2, 3)), x * torch.e)
