"""Generators and patch discriminators of a GAN as params.yaml describes them, untrained."""

from typing import Literal, TypeVar

import torch
from pydantic import Field
from torch import nn

from mrct.core.params import Section
from mrct.networks.patchgan import PatchDiscriminator
from mrct.networks.resnet import ResnetGenerator

Network = TypeVar("Network", bound=nn.Module)


class GeneratorParams(Section):
    """Size of both generators."""

    filters: int = Field(ge=1)
    blocks: int = Field(ge=0)
    downsamplings: int = Field(ge=0)
    upsampling: Literal["transposed", "resize"]


class DiscriminatorParams(Section):
    """Size and norm of both discriminators."""

    filters: int = Field(ge=1)
    norm: Literal["batch", "instance"]


def build_generator(params: GeneratorParams) -> ResnetGenerator:
    """One generator, in the memory order of `_channels_last`."""
    return _channels_last(ResnetGenerator(**params.model_dump()))


def build_discriminator(params: DiscriminatorParams) -> PatchDiscriminator:
    """One discriminator, in the memory order of `_channels_last`."""
    return _channels_last(PatchDiscriminator(**params.model_dump()))


def _channels_last(network: Network) -> Network:
    """The memory layout in which CPU and GPU convolutions are fastest."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs omit it
    return network
