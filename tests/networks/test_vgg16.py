"""VGG16's features against the published configuration, and every file that is not its weights."""

import hashlib
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from mrct.networks.vgg16 import Vgg16Features, WeightsError


def _published() -> nn.Sequential:
    """Simonyan 2015, Table 1, column D, to its last pooling; the modules numbered as torchvision's."""
    layers, channels_in = list[nn.Module](), 3
    for block in ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)):
        for channels in block:
            layers += [nn.Conv2d(channels_in, channels, kernel_size=3, padding=1), nn.ReLU()]
            channels_in = channels
        layers += [nn.MaxPool2d(kernel_size=2, stride=2)]
    return nn.Sequential(*layers)


@pytest.fixture(scope="module")
def published() -> nn.Sequential:
    torch.manual_seed(0)
    return _published()


@pytest.fixture(scope="module")
def weights(published) -> dict[str, Tensor]:
    """Of the layers in use, under the names of the downloaded file, with one that is not in use."""
    used = {name: tensor for name, tensor in published.state_dict().items() if int(name.split(".")[0]) < 20}
    return {f"features.{name}": tensor for name, tensor in used.items()} | {
        "classifier.6.bias": torch.zeros(9)
    }


@pytest.fixture(scope="module")
def file(weights, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("vgg16") / "model.safetensors"
    save_file(weights, path)
    return path


def test_equal_the_published_network(published, file):
    """relu3_1 is the first ReLU of block 3, relu4_1 of block 4; gray fills ImageNet's normalized colors."""
    gray = torch.rand(2, 1, 32, 48) * 2 - 1
    colors = [((gray + 1) / 2 - m) / s for m, s in ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))]
    with torch.no_grad():
        expected = [published[:last](torch.cat(colors, 1)) for last in (12, 19)]
    features = Vgg16Features(file)(gray)
    assert [f.shape for f in features] == [(2, 256, 8, 12), (2, 512, 4, 6)]
    assert all(torch.allclose(f, e, atol=1e-5) for f, e in zip(features, expected, strict=True))


def test_frozen_and_differentiable_in_the_image(file):
    features = Vgg16Features(file)
    assert not any(weight.requires_grad for weight in features.parameters())
    image = torch.zeros(1, 1, 16, 16, requires_grad=True)
    features(image)[1].sum().backward()
    assert image.grad.abs().sum() > 0


@pytest.mark.parametrize("zipped", [False, True], ids=["torch-1.5-and-older", "torch-1.6-and-newer"])
def test_torch_files_give_the_same_features(weights, file, tmp_path, zipped):
    """The published file is of the older kind."""
    path = tmp_path / "vgg16-397923af.pth"
    torch.save(weights, path, _use_new_zipfile_serialization=zipped)
    image = torch.rand(1, 1, 16, 16)
    for stored, expected in zip(Vgg16Features(path)(image), Vgg16Features(file)(image), strict=True):
        assert torch.equal(stored, expected)


def test_the_hash_is_that_of_the_file(file):
    assert Vgg16Features(file).sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


def test_weights_stored_in_half_precision_are_taken_as_float32(weights, tmp_path):
    path = tmp_path / "half.safetensors"
    save_file({name: tensor.half() for name, tensor in weights.items()}, path)
    assert {weight.dtype for weight in Vgg16Features(path).parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("broken", "got"),
    [
        (None, "got nothing"),
        (torch.zeros(64, 1, 3, 3), "got (64, 1, 3, 3)"),
        (torch.zeros(64, 3, 3, 3).int(), "torch.int32"),
    ],
    ids=["missing", "one-channel", "whole-numbers"],
)
def test_another_network_is_an_error_that_says_what_was_found(weights, tmp_path, broken, got):
    path = tmp_path / "other.safetensors"
    changed = {name: tensor for name, tensor in weights.items() if name != "features.0.weight"}
    save_file(changed | ({} if broken is None else {"features.0.weight": broken}), path)
    with pytest.raises(WeightsError) as error:
        Vgg16Features(path)
    for part in (str(path), "features.0.weight", got, "(64, 3, 3, 3)", "download.pytorch.org"):
        assert part in str(error.value)


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    "content",
    [b"", b"not weights", b"<html>404</html>", b"PK\x03\x04" + b"\0" * 99],
    ids=["empty", "text", "html", "zip"],
)
def test_what_is_no_weights_file_is_an_error(tmp_path, content, ending):
    path = tmp_path / f"weights{ending}"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="not readable as weights"):
        Vgg16Features(path)


def test_truncated_download_is_an_error(weights, tmp_path):
    path = tmp_path / "vgg16-397923af.pth"
    torch.save(weights, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(WeightsError, match="not readable as weights"):
        Vgg16Features(path)


def test_missing_file_says_where_to_take_it(tmp_path):
    with pytest.raises(WeightsError, match=r"no such file.*download\.pytorch\.org.*vgg16_weights"):
        Vgg16Features(tmp_path / "vgg16.pth")


class _Attack:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("zipped", [False, True])
def test_code_in_a_torch_file_is_never_run(tmp_path, zipped):
    path = tmp_path / "vgg16.pth"
    torch.save({"features.0.weight": _Attack(tmp_path / "run")}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError):
        Vgg16Features(path)
    assert not (tmp_path / "run").exists()


def test_a_list_is_no_network(tmp_path):
    path = tmp_path / "vgg16.pth"
    torch.save([torch.zeros(3)], path)
    with pytest.raises(WeightsError, match="got list"):
        Vgg16Features(path)
