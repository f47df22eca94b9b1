"""MONAI's SwinUNETR (Hatamizadeh 2021) as a generator of CT cubes; MONAI is an optional dependency."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mrct.core.errors import MrctError
from mrct.networks.sliding_window import Window
from mrct.networks.whole_volume import VolumeNetwork, translate_patches

#: Groups of channels where `norm` is group; MONAI's widths are multiples of 12.
N_GROUPS = 4
#: The network halves a cube five times.
DIVISOR = 32


class MissingMonaiError(MrctError, ImportError):
    """Error for a missing MONAI, which the extra `swin` installs."""


class SwinGenerator(VolumeNetwork):
    """SwinUNETR: (B, 1, p, p, p) in [-1, 1] -> (B, 1, p, p, p), about [-1, 1]; p is a multiple of 32.

    The `norm` of the convolution blocks is instance, MONAI's default, or group. In cubes of 32 voxels the lowest level
    is one voxel, which instance norm cannot normalize. The last layer is MONAI's, linear; `translate` clips whole
    volumes.
    """

    def __init__(
        self, patch_size: int, feature_size: int, norm: str, overlap: float, resample_slices_mm: float
    ) -> None:
        super().__init__()
        self.network = _swin_unetr(feature_size, norm)
        self.window = Window(patch_size, patch_size, overlap)
        self.resample_slices_mm = resample_slices_mm

    def forward(self, x: Tensor) -> Tensor:
        """Predict the CT of the same cube, float32."""
        made: Tensor = self.network(x)
        return made.float()

    def translate_volume(
        self,
        volume: np.ndarray,
        slice_spacing_mm: float,
        device: torch.device,
        others: Mapping[str, np.ndarray],
    ) -> np.ndarray:
        """Translate an MR (D, H, W) to CT (D, H, W), both in [-1, 1]."""
        return translate_patches(
            self, [volume], slice_spacing_mm, self.resample_slices_mm, self.window, device
        )


def _swin_unetr(feature_size: int, norm: str) -> nn.Module:
    try:
        from monai.networks.nets.swin_unetr import SwinUNETR
    except ImportError as error:
        raise MissingMonaiError(
            f"swin_pix2pix: {error.name} is not installed; run  pip install -e '.[swin]' -c constraints.txt  or take "
            "swin_pix2pix out of methods"
        ) from None
    chosen: Any = norm if norm == "instance" else (norm, {"num_groups": N_GROUPS})
    network: nn.Module = SwinUNETR(1, 1, feature_size=feature_size, norm_name=chosen)
    return network
