"""``budwood models``: lists, searches, and the tables of one network."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from budwood.models.nets import SCRATCH


def test_nets_from_scratch_are_listed_without_torch_being_needed(call: Callable) -> None:
    call("models").refused(0, *SCRATCH)


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("lite0", ("blocks.6", "trains = 17 or more", "3,371,008 parameters", "384 M MACs")),
        ("googlenet", ("inception3a", "trains = 12 or more")),
        ("six_conv", ("block_6", "is built for 96 px")),
        ("softmax", ("0 parameters", "nothing to train but the last layer")),
    ],
)
def test_blocks_of_every_kind_of_network_are_shown(call: Callable, name: str, texts: tuple[str, ...]) -> None:
    call("models", name).refused(0, *texts)


def test_layers_are_shown_for_the_asked_side(call: Callable) -> None:
    texts = ("block_1.conv", "6 x 28 x 28", "456", "5 px", "cifar_cnn at 32 px")
    call("models", "cifar_cnn", "--layers", "--size", "32").refused(0, *texts)


def test_part_of_a_name_is_searched_for_everywhere(call: Callable) -> None:
    call("models", "vgg16*").refused(0, "vgg16_bn", "vgg16_no_last_pool (from scratch)", "vgg16 (torchvision)")
    call("models", "mnasnet0").refused(0, "mnasnet0_5 (torchvision)")


def test_options_without_a_name_are_refused(call: Callable) -> None:
    call("models", "--layers").refused(2, "budwood models NAME --layers")
    call("models", "resnt50", "--layers").refused(2, "did you mean", "resnet50")
