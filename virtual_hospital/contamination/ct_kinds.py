"""CT series that nobody asked for: other kernels, contrast, slices, times and planes of the same head."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from virtual_hospital import ct
from virtual_hospital.contamination.mr_kinds import REPEATS, without
from virtual_hospital.contamination.scene import Scene, regrid
from virtual_hospital.ct import Technique
from virtual_hospital.geometry import CORONAL, Grid, stack
from virtual_hospital.series import Series, reformatted_ct
from virtual_hospital.tissues import Tissue

ARTERIAL = Technique(changed=((Tissue.BLOOD, 330.0),))
VENOUS = Technique(changed=((Tissue.BLOOD, 120.0), (Tissue.DURA, 110.0), (Tissue.TUMOR, 80.0)))
SHARP = Technique(grain_mm=0.2)
_AGENT = {"ContrastBolusAgent": "Ultravist 370", "ContrastBolusRoute": "IV"}


def reconstruct(
    kind: str,
    name: str,
    scene: Scene,
    grid: Grid,
    technique: Technique = ct.ROUTINE,
    noise_hu: float = 4.5,
    attributes: Mapping[str, Any] | None = None,
) -> Series:
    """A reconstruction on `grid`, named `name`, with header values beside those of the clean series."""
    values = ct.acquire(scene.head, grid, scene.poses.head_to_ct, noise_hu, scene.rng, technique)
    made = replace(scene.clean_ct, kind=kind, description=name, values=(values,), grids=(grid,), wanted="no")
    return replace(made, attributes={**made.attributes, **(attributes or {})})


def clean_extent(scene: Scene, count: int = 0, spacing_mm: float = 0.0, shift_mm: float = 0.0) -> Grid:
    """The clean CT's extent at half its matrix, or other slices of it."""
    grid = scene.clean_ct.grids[0]
    spacing = spacing_mm or grid.spacing_mm
    return regrid(grid, scene.size // 2, count or grid.shape[0], spacing, spacing, shift_mm)


def _bone(scene: Scene) -> Series:
    kernel = "BONE" if scene.ct_vendor == "ge" else ["J70h", "3"]
    window = {"ConvolutionKernel": kernel, "WindowCenter": "500", "WindowWidth": "2000"}
    return reconstruct("ct_bone", "Head 5.0 routine", scene, clean_extent(scene), SHARP, 28.0, window)


def _angiography(scene: Scene) -> Series:
    return reconstruct(
        "ct_angiography", "CTA Head 1.5", scene, clean_extent(scene, 24, 1.5, -15.0), ARTERIAL, 9.0, _AGENT
    )


def _contrast_tag(scene: Scene) -> Series:
    return reconstruct(
        "ct_contrast_tag", "Head 5.0 routine", scene, clean_extent(scene), VENOUS, attributes=_AGENT
    )


def _contrast_name(scene: Scene) -> Series:
    return reconstruct("ct_contrast_name", "Head 5.0 post contrast", scene, clean_extent(scene), VENOUS)


def _thin(scene: Scene) -> Series:
    """The same scan in thin slices: as true as the thick ones."""
    grid = scene.clean_ct.grids[0]
    count = round(grid.shape[0] * grid.spacing_mm / 2.5)
    return replace(
        reconstruct("ct_thin", "Head 2.5 thin", scene, clean_extent(scene, count, 2.5), noise_hu=7.0),
        wanted="acceptable",
    )


def _missing(scene: Scene) -> Series:
    return without(
        reconstruct("ct_missing_slices", "Head 5.0 routine", scene, clean_extent(scene)), (8, 15, 16)
    )


def _two_thicknesses(scene: Scene) -> Series:
    """Fine slices through the skull base and coarse ones above, in one series, as older protocols do."""
    parts = [reconstruct("ct_two_thicknesses", "Head routine", scene, grid) for grid in _two_stacks(scene)]
    return replace(
        parts[0], values=sum((p.values for p in parts), ()), grids=sum((p.grids for p in parts), ())
    )


def _two_stacks(scene: Scene) -> tuple[Grid, Grid]:
    """Twelve slices of 2.5 mm, and nine of 10 mm that begin where those end, both in the clean CT's extent."""
    extent = scene.clean_ct.grids[0].shape[0] * scene.clean_ct.grids[0].spacing_mm
    bottom = -extent / 2
    return clean_extent(scene, 12, 2.5, bottom + 15.0), clean_extent(scene, 9, 10.0, bottom + 30.0 + 45.0)


def _duplicated(scene: Scene) -> Series:
    made = reconstruct("ct_duplicated_slices", "Head 5.0 routine", scene, clean_extent(scene))
    return replace(made, values=made.values * 2, grids=made.grids * 2, wanted="acceptable")


def _reformat_original(scene: Scene) -> Series:
    """A coronal reformat under the name and the image type of the axial scan."""
    made = reformatted_ct(scene.clean_ct, sagittal=False, size=scene.size // 2, no_text=False)
    names = {"description": "Head 5.0 routine", "image_type": scene.clean_ct.image_type}
    return replace(made, kind="ct_reformat_original", **names)  # type: ignore[arg-type]


def _dynamic(kind: str, name: str, scene: Scene, slices: int, technique: Technique) -> Series:
    """The same few slices REPEATS times, the vessels filling."""
    grid = regrid(scene.clean_ct.grids[0], scene.size // 4, slices, 5.0, 5.0)
    rest = reconstruct(kind, name, scene, grid, noise_hu=8.0, attributes=_AGENT)
    full = reconstruct(kind, name, scene, grid, technique, noise_hu=8.0)
    shares = np.linspace(0.0, 1.0, REPEATS, dtype=np.float32)
    values = tuple((1 - share) * rest.values[0] + share * full.values[0] for share in shares)
    each = tuple({"AcquisitionNumber": str(n)} for n in range(1, REPEATS + 1))
    return replace(rest, values=values, grids=rest.grids * REPEATS, each=each)


def _topogram(scene: Scene) -> Series:
    """A scout: one thick coronal picture, as a projection."""
    middle = scene.clean_ct.grids[0]
    center = (middle.index_to_mm @ np.append((np.array(middle.shape[::-1]) - 1) / 2, 1.0))[:3]
    size = scene.size // 2
    grid = stack(CORONAL, center, (1, size, size), 240.0 / size, 200.0, 120.0)
    made = reconstruct("topogram", "Topogram 0.6", scene, grid, noise_hu=3.0)
    return replace(made, image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"))


def _sinus(scene: Scene) -> Series:
    """The face alone, for bone."""
    grid = scene.clean_ct.grids[0]
    bottom = -grid.shape[0] * grid.spacing_mm / 2
    kernel = {"ConvolutionKernel": "BONEPLUS" if scene.ct_vendor == "ge" else "H60s"}
    return reconstruct(
        "ct_sinus", "Sinus 3.0", scene, clean_extent(scene, 14, 3.0, bottom + 21.0), SHARP, 20.0, kernel
    )


def _mip(scene: Scene) -> Series:
    """Axial maximum intensity projections of the angiography, over three slices each."""
    made = reconstruct("ct_mip", "CTA MIP ax", scene, clean_extent(scene, 16, 3.0), ARTERIAL, 6.0, _AGENT)
    values = made.values[0]
    highest = np.maximum(np.maximum(values, np.roll(values, 1, 0)), np.roll(values, -1, 0))
    return replace(made, values=(highest,), image_type=("DERIVED", "SECONDARY", "AXIAL", "MIP"))


MAKERS: Mapping[str, Callable[[Scene], Series]] = {
    "ct_bone": _bone,
    "ct_angiography": _angiography,
    "ct_contrast_tag": _contrast_tag,
    "ct_contrast_name": _contrast_name,
    "ct_thin": _thin,
    "ct_missing_slices": _missing,
    "ct_two_thicknesses": _two_thicknesses,
    "ct_duplicated_slices": _duplicated,
    "ct_reformat_original": _reformat_original,
    "ct_perfusion": lambda scene: _dynamic("ct_perfusion", "Head perfusion", scene, 6, VENOUS),
    "ct_bolus_tracking": lambda scene: _dynamic("ct_bolus_tracking", "Monitoring 10.0", scene, 1, ARTERIAL),
    "topogram": _topogram,
    "ct_sinus": _sinus,
    "ct_mip": _mip,
}
