"""Features of VGG16 (Simonyan 2015, configuration D) for the structure loss, from a weights file of the user."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from mrct.core.errors import DataError
from mrct.core.fingerprints import file_hash

#: Channels of the 3x3 convolutions to relu4_1, "M" halves the size; Simonyan 2015, Table 1, column D.
CONFIGURATION: tuple[int | str, ...] = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512)
#: Layers up to and with relu3_1; relu4_1 is the last.
RELU3_1 = 12
#: Mean and standard deviation of the colors of ImageNet in [0, 1], on which the published weights were trained.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
WHERE = (
    "take https://download.pytorch.org/models/vgg16-397923af.pth (torchvision) or model.safetensors of "
    "https://huggingface.co/timm/vgg16.tv_in1k and name the file in vgg16_weights"
)


class WeightsError(DataError):
    """Error for a file that holds no VGG16 weights."""


class Vgg16Features(nn.Module):
    """Frozen VGG16: (B, 1, H, W) in [-1, 1] -> [relu3_1 (B, 256, H/4, W/4), relu4_1 (B, 512, H/8, W/8)].

    The gray image fills the three color channels (Zheng 2021 has color images). `sha256` is the hash of the
    weights file, for the fingerprint of a run.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, weights_file: Path) -> None:
        super().__init__()
        self.layers = _layers()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)
        self.layers.load_state_dict(_read_weights(weights_file, self.layers.state_dict()))
        self.sha256 = file_hash(weights_file)
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute the features of both depths; differentiable in the images."""
        shallow = self.layers[:RELU3_1](((images + 1) / 2 - self.mean) / self.std)
        return [shallow, self.layers[RELU3_1:](shallow)]


def _layers() -> nn.Sequential:
    """Build the network up to relu4_1, numbered as torchvision's `features`."""
    layers, channels_in = list[nn.Module](), 3
    for item in CONFIGURATION:
        if isinstance(item, int):
            layers += [nn.Conv2d(channels_in, item, 3, padding=1), nn.ReLU()]
            channels_in = item
        else:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def _read_weights(file: Path, wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """Read the tensors that `wanted` names from `features.<name>` of the file; WeightsError if one is missing."""
    stored = _read_tensors(file)
    found = {}
    for name, tensor in wanted.items():
        got = stored.get(f"features.{name}")
        if got is None or got.shape != tensor.shape or not got.is_floating_point():
            what = "nothing" if got is None else f"{tuple(got.shape)} of {got.dtype}"
            raise WeightsError(
                f"{file}: features.{name}: got {what}, expected floats of shape {tuple(tensor.shape)}; {WHERE}"
            )
        found[name] = got
    return found


def _read_tensors(file: Path) -> dict[str, Tensor]:
    """Read the file's tensors by name: safetensors by its suffix, otherwise torch's format, restricted to tensors."""
    if not file.is_file():
        raise WeightsError(f"{file}: no such file, expected the weights of VGG16; {WHERE}")
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        stored = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can make the parsers raise anything
        raise WeightsError(f"{file}: not readable as weights ({type(error).__name__}); {WHERE}") from None
    if not isinstance(stored, dict):
        raise WeightsError(f"{file}: got {type(stored).__name__}, expected tensors by name; {WHERE}")
    return stored
