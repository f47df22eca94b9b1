"""Kinds drawn up when the selection rules stood and met all others: what the rules were not written for.

MR: the rows of later.csv. CT: other examinations that show a head, and reconstructions that say so nowhere.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from virtual_hospital.contamination.ct_kinds import SHARP, clean_extent, reconstruct
from virtual_hospital.contamination.mr_kinds import REPEATS, read_rows, scan
from virtual_hospital.contamination.scene import Scene
from virtual_hospital.ct import Technique
from virtual_hospital.geometry import Grid, stack
from virtual_hospital.series import Series
from virtual_hospital.tissues import Tissue

ROWS = read_rows("later.csv")
LOW_KV = Technique(
    changed=((Tissue.COMPACT_BONE, 2100.0), (Tissue.DIPLOE, 800.0), (Tissue.CALCIFICATION, 380.0))
)
_ORBIT_FIELD_MM = 140.0


def _csf_flow(scene: Scene) -> Series:
    """One slice at REPEATS phases of the heart's cycle."""
    made = scan(ROWS["csf_flow"], scene)
    pulse = 1.0 + 0.2 * np.sin(np.linspace(0.0, 2.0 * np.pi, REPEATS, endpoint=False))
    values = tuple(made.values[0] * np.float32(share) for share in pulse)
    each = tuple({"TriggerTime": f"{80 * n}"} for n in range(REPEATS))
    return replace(made, values=values, grids=made.grids * REPEATS, each=each)


def _two_slabs(scene: Scene) -> Series:
    """One series of two slabs, with half of the head between them left out."""
    parts = [scan({**ROWS["two_slabs"], "center_mm": center}, scene) for center in ("-30", "50")]
    return replace(
        parts[0], values=sum((p.values for p in parts), ()), grids=sum((p.grids for p in parts), ())
    )


def _orbits(scene: Scene) -> Series:
    """A field of view that ends inside the head."""
    row = ROWS["t2_orbits"]
    made = scan(row, scene)
    return replace(made, **_cropped(made, _ORBIT_FIELD_MM))


def _merged(scene: Scene) -> Series:
    """T1 and T2 of the same slices that an archive has put into one series; the T2 alone would do."""
    row = ROWS["merged_series"]
    t1, t2 = scan(row, scene), scan({**row, "tr_ms": "4200", "te_ms": "95"}, scene)
    each = tuple(
        {name: part.attributes[name] for name in ("EchoTime", "RepetitionTime")} for part in (t1, t2)
    )
    both = {"values": t1.values + t2.values, "grids": t1.grids + t2.grids, "each": each}
    return replace(t1, wanted_te_ms="95", **both)  # type: ignore[arg-type]


def _cropped(made: Series, field_mm: float) -> dict[str, Any]:
    """`values` and `grids` of the anterior middle part of each slice, `field_mm` wide and high."""
    grid, values = made.grids[0], made.values[0]
    size = round(field_mm / grid.pixel_spacing_mm)
    left = (grid.shape[2] - size) // 2
    matrix = grid.index_to_mm.copy()
    matrix[:3, 3] += matrix[:3, 0] * left
    kept = np.ascontiguousarray(values[:, :size, left : left + size])
    return {"values": (kept,), "grids": (Grid(matrix, kept.shape, grid.thickness_mm),)}


def _attenuation(scene: Scene) -> Series:
    """The low-dose CT of a PET examination, from the vertex far down, in a wide field of view."""
    clean = scene.clean_ct.grids[0]
    top = clean.position(clean.shape[0] - 1)
    size, count, spacing = scene.size // 2, 60, 5.0
    center = np.array([0.0, 0.0, top[2] + 20.0 - count * spacing / 2])
    grid = stack(np.eye(3), center, (count, size, size), 500.0 / size, spacing, spacing)
    name = "CTAC 5.0" if scene.ct_vendor == "ge" else "AC CT WB 5.0"
    made = reconstruct("ct_attenuation", name, scene, grid, noise_hu=20.0)
    return replace(made, protocol="PET_CT_WB")


def _dual_energy(scene: Scene) -> Series:
    """The low-voltage half of a dual-energy scan: bone reads far higher."""
    name = "GSI 80kVp" if scene.ct_vendor == "ge" else "DE_Head 5.0 A_80kV"
    return reconstruct("ct_dual_energy", name, scene, clean_extent(scene), LOW_KV, 8.0, {"KVP": "80"})


def _cone_beam(scene: Scene) -> Series:
    """A flat detector's volume from the angiography suite: few grey levels are right."""
    device = {"ManufacturerModelName": "AXIOM-Artis", "ConvolutionKernel": "HU", "KVP": "109"}
    if scene.ct_vendor == "ge":
        device = {"ManufacturerModelName": "INNOVA 4100", "ConvolutionKernel": "", "KVP": "109"}
    name = "InnovaCT 3mm" if scene.ct_vendor == "ge" else "20sDCT Head 3.0"
    made = reconstruct(
        "ct_cone_beam", name, scene, clean_extent(scene, 40, 3.0), noise_hu=45.0, attributes=device
    )
    return replace(made, values=tuple(0.8 * values - 60.0 for values in made.values))


def _ct_orbits(scene: Scene) -> Series:
    made = reconstruct("ct_orbits", "Orbita 2.0", scene, clean_extent(scene, 40, 2.0, -20.0), noise_hu=7.0)
    return replace(made, **_cropped(made, _ORBIT_FIELD_MM))


def _bone_by_name(scene: Scene) -> Series:
    """A bone reconstruction whose kernel the header does not tell."""
    name = "BONE ALGO" if scene.ct_vendor == "ge" else "Schaedel 5.0 Knochen"
    return reconstruct(
        "ct_bone_by_name", name, scene, clean_extent(scene), SHARP, 28.0, {"ConvolutionKernel": ""}
    )


def _neck(scene: Scene) -> Series:
    name = "NECK W/O" if scene.ct_vendor == "ge" else "Hals nativ 5.0"
    return reconstruct("ct_neck", name, scene, clean_extent(scene, 22, 5.0, -75.0))


def _row(kind: str) -> Callable[[Scene], Series]:
    return lambda scene: scan(ROWS[kind], scene)


# in turn, one a patient; of 18 patients number 5 has no MR and number 7 no CT
LATER: Mapping[str, Callable[[Scene], Series]] = {
    "t2_fat_saturated": _row("t2_fat_saturated"),
    "ct_attenuation": _attenuation,
    "csf_flow": _csf_flow,
    "ct_dual_energy": _dual_energy,
    "two_slabs": _two_slabs,
    "ct_cone_beam": _cone_beam,
    "phantom": _row("phantom"),
    "t2_orbits": _orbits,
    "ct_orbits": _ct_orbits,
    "merged_series": _merged,
    "ct_bone_by_name": _bone_by_name,
    "t2_twin": _row("t2_twin"),
    "ct_neck": _neck,
}
