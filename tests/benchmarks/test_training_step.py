"""What rotating and projecting costs in training: its forward pass against the whole step."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from cases import GRIDS
from measure import Cost, Costs

from napari_so3.so3.networks import PRESETS, PickerNet

BATCH = 32
ROUNDS = 5
CONFIGS = {
    f"{name}, R = {len(config.grid)}": config
    for preset in ("default", "paper")
    for name, config in (
        (preset, replace(PRESETS[preset], grid=GRIDS[72])),
        (preset, PRESETS[preset]),
    )
}


@pytest.fixture(params=CONFIGS)
def named_net(request: pytest.FixtureRequest) -> tuple[str, PickerNet]:
    return request.param, PickerNet(CONFIGS[request.param]).train()


def add(costs: Costs, net_name: str, row: str, benchmark: Any) -> None:
    costs.add(f"Training step of {BATCH} crops: {net_name}", row, [Cost(benchmark.stats["median"])])


def test_step(benchmark: Any, costs: Costs, named_net: tuple[str, PickerNet]) -> None:
    name, net = named_net
    field = net.config.receptive_field
    crops, target = torch.randn(BATCH, 1, field, field), torch.rand(BATCH, 1, 1).round()
    optimiser = torch.optim.Adam(net.parameters())

    def step() -> None:
        optimiser.zero_grad()
        F.binary_cross_entropy_with_logits(net(crops), target).backward()
        optimiser.step()

    benchmark.pedantic(step, rounds=ROUNDS, warmup_rounds=1)
    add(costs, name, "forward, backward and Adam", benchmark)


def test_project(benchmark: Any, costs: Costs, named_net: tuple[str, PickerNet]) -> None:
    name, net = named_net
    layers = (net.lift, net.conv2, net.conv3, net.head)
    benchmark.pedantic(
        lambda: [layer.filters() for layer in layers], rounds=10 * ROUNDS, warmup_rounds=3
    )
    add(costs, name, "rotate and project, forward", benchmark)
