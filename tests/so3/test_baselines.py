import pytest
import torch

from napari_so3.so3.baselines import ConvConfig, ConvNet


def test_the_papers_baseline_without_the_norm_of_its_logit():
    net = ConvNet()
    assert sum(p.numel() for p in net.parameters()) == 74_054 - 1
    assert net.config.receptive_field == 45
    assert net(torch.zeros(2, 1, 45, 45)).shape == (2, 1, 1)


@pytest.mark.parametrize("config", [ConvConfig(), ConvConfig(4, (9, 5, 5, 3))])
def test_dense_scores_equal_those_of_crops(config):
    net = ConvNet(config).eval()
    field, stride = config.receptive_field, config.stride
    image = torch.randn(1, 1, field + 3 * stride, field + stride)
    dense = net(image)
    for i in range(4):
        for j in range(2):
            crop = image[..., i * stride : i * stride + field, j * stride : j * stride + field]
            torch.testing.assert_close(net(crop)[0, 0, 0], dense[0, i, j], atol=1e-4, rtol=1e-4)
