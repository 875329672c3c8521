import torch

from openjscc.models.layers import GDN, ChannelAttention, Downsample, Upsample


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
            assert Upsample(8, 3, kernel, 2, subpixel)(down).shape == x.shape
