"""Conversion of volumes to the networks' images in [-1, 1], and back.

Convention: arrays are (k, j, i) = (D, H, W). Rows and columns are resampled to one pixel spacing and cropped or padded
to a square about the head; slices stay as they are. CT is scaled by a window in HU, MR by a scale of its own volume.
Both maps rise inside their window and saturate outside it. Inside the window the inverse is exact to float32 rounding.
Grid, bias field and scale come from the source volume alone, so that a new patient's volume is normalized as the
training volumes were.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import SimpleITK as sitk

from mrct.core.contracts import AIR_HU
from mrct.core.errors import DataError
from mrct.imaging.grid import Grid, from_grid, make_grid, to_grid
from mrct.imaging.volumes import to_array
from mrct.normalization.intensity import BiasField, MrScale, MrScaling, fit_bias_field, require_window

Modality = Literal["CT", "MR"]


@dataclass(frozen=True)
class Normalization:
    """Normalization of a data set, which a model file carries.

    Attributes:
        image_size: Rows and columns of the networks' images.
        pixel_spacing_mm: Their pixel spacing.
        hu_window: HU of a CT that become -1 and 1.
        mr_scaling: The rule by which each MR volume gets its scale.

    Raises:
        DataError: The window is empty or not finite.
    """

    image_size: int
    pixel_spacing_mm: float
    hu_window: tuple[float, float]
    mr_scaling: MrScaling

    def __post_init__(self) -> None:
        require_window(*self.hu_window)

    def to_json(self) -> dict[str, Any]:
        """Return plain values for the manifest of data/normalized or the header of a model file."""
        return {
            "image_size": self.image_size,
            "pixel_spacing_mm": self.pixel_spacing_mm,
            "hu_window": list(self.hu_window),
            "mr": self.mr_scaling.to_json(),
        }

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> "Normalization":
        """Read what `to_json` returned, from any mapping that has its keys.

        Raises:
            DataError: A key is missing or a value is of another kind.
        """
        try:
            low, high = content["hu_window"]
            return Normalization(
                int(content["image_size"]),
                float(content["pixel_spacing_mm"]),
                (float(low), float(high)),
                MrScaling.from_json(content["mr"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"normalization: {type(error).__name__} {error}; expected image_size, pixel_spacing_mm, hu_window "
                "[low, high] and mr (method, percentiles, landmarks, n4); run the stage normalize again"
            ) from None

    @property
    def hu_per_unit(self) -> float:
        """Return the difference in HU that a difference of 1 in [-1, 1] stands for."""
        low, high = self.hu_window
        return (high - low) / 2

    def fit(self, volume: sitk.Image, modality: Modality = "MR") -> "VolumeNormalization":
        """Fit the grid and, for an MR, the bias field and the scale to the volume that is to be translated.

        Args:
            volume: The whole volume in LPS axes, CT in HU.
            modality: CT or MR.

        Raises:
            DataError: The MR has no contrast or values that are not finite.
        """
        grid = make_grid(volume, self.image_size, self.pixel_spacing_mm)
        if modality == "CT":
            return VolumeNormalization(self, grid)
        bias_field = self._bias_field(volume)
        return VolumeNormalization(
            self, grid, bias_field, self.mr_scaling.fit(to_array(_corrected(volume, bias_field)))
        )

    def find_landmarks(self, mr: sitk.Image) -> np.ndarray:
        """Find the intensity landmarks (12,) of a training MR, after N4 where the rule asks for it."""
        return self.mr_scaling.find_landmarks(to_array(_corrected(mr, self._bias_field(mr))))

    def fit_landmarks(self, found: Sequence[np.ndarray]) -> "Normalization":
        """Learn the standard scale of nyul from the landmarks of the training MRs."""
        return replace(self, mr_scaling=self.mr_scaling.fit_landmarks(found))

    def fit_hu_window(self, ranges: Sequence[tuple[float, float]]) -> "Normalization":
        """Return a copy whose window spans the ranges (lowest, highest HU) of the training CTs, down to air at most."""
        low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
        return replace(self, hu_window=(max(AIR_HU, low), high))

    def transform_ct(self, hu: np.ndarray) -> np.ndarray:
        """Convert HU of any shape to float32 in [-1, 1]; values outside the window saturate."""
        low, high = self.hu_window
        unit = (np.asarray(hu, np.float64) - low) / (high - low)
        return (np.clip(unit, 0.0, 1.0) * 2.0 - 1.0).astype(np.float32)

    def inverse_transform_ct(self, signed: np.ndarray) -> np.ndarray:
        """Convert [-1, 1] of any shape to HU, float32."""
        low, high = self.hu_window
        return ((np.asarray(signed, np.float64) + 1.0) / 2.0 * (high - low) + low).astype(np.float32)

    @staticmethod
    def inverse_transform_mr(signed: np.ndarray) -> np.ndarray:
        """Convert [-1, 1] of any shape and precision to [0, 1]: a synthetic MR has no unit to go back to."""
        return (np.asarray(signed) + 1) / 2

    def inverse_transform(self, signed: np.ndarray, modality: Modality) -> np.ndarray:
        """Convert [-1, 1] of any shape to HU (CT) or [0, 1] (MR)."""
        return self.inverse_transform_ct(signed) if modality == "CT" else self.inverse_transform_mr(signed)

    def _bias_field(self, mr: sitk.Image) -> BiasField | None:
        return fit_bias_field(mr) if self.mr_scaling.n4 else None


@dataclass(frozen=True)
class VolumeNormalization:
    """A normalization fitted to one volume; made by `Normalization.fit`.

    Attributes:
        normalization: The normalization that was fitted.
        grid: The networks' grid, placed on the volume.
        bias_field: Bias field of the volume; None for a CT, without N4 and where an MR shows no head.
        mr_scale: Scale of the volume; None for a CT.
    """

    normalization: Normalization
    grid: Grid
    bias_field: BiasField | None = None
    mr_scale: MrScale | None = None

    @property
    def slice_spacing_mm(self) -> float:
        """Return the distance between neighboring slices of the grid, mm."""
        return self.grid.spacing_mm()[2]

    @property
    def mr_range(self) -> tuple[float, float]:
        """Return the MR values that become -1 and 1."""
        scale = self._fitted_scale()
        return scale.low, scale.high

    def resample_ct(self, ct: sitk.Image) -> np.ndarray:
        """Bring a CT in HU onto the grid: (D, H, W) float32 in HU, not clipped, air outside the CT."""
        return to_grid(ct, self.grid, fill=AIR_HU)

    def transform(self, volume: sitk.Image, modality: Modality) -> np.ndarray:
        """Bring a volume onto the grid: (D, H, W) float32 in [-1, 1], air or the lowest MR value outside the volume.

        Args:
            volume: A CT in HU, or the MR that this was fitted to.
            modality: CT or MR.

        Raises:
            DataError: An MR is given, but this was fitted to a CT.
        """
        if modality == "CT":
            return self.normalization.transform_ct(self.resample_ct(volume))
        scale = self._fitted_scale()
        flat = _corrected(volume, self.bias_field)
        return scale.transform(to_grid(flat, self.grid, fill=scale.low))

    def restore(self, values: np.ndarray, modality: Modality, voxels: sitk.Image) -> sitk.Image:
        """Put the grid's values back on the patient's own voxels.

        Args:
            values: (D, H, W) in HU for a CT, from 0 up for an MR.
            modality: CT or MR; outside the grid CT is air and MR is 0.
            voxels: An image that has these voxels.

        Raises:
            DataError: The values do not have the shape of the grid.
        """
        return from_grid(values, self.grid, voxels, fill=AIR_HU if modality == "CT" else 0.0)

    def _fitted_scale(self) -> MrScale:
        if self.mr_scale is None:
            raise DataError("normalization: it was fitted to a CT and has no MR scale; fit it to the MR")
        return self.mr_scale


def _corrected(mr: sitk.Image, bias_field: BiasField | None) -> sitk.Image:
    return mr if bias_field is None else bias_field.correct(mr)
