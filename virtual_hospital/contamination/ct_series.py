"""The rarer kinds of unwanted CT series: other kernels, contrast, slices, planes and examinations of the head."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from virtual_hospital import ct
from virtual_hospital.contamination.everyday import reformatted_ct
from virtual_hospital.contamination.mr_series import REPEATS, cropped_to_orbits, without_slices
from virtual_hospital.ct import Technique
from virtual_hospital.elements import HeaderValue
from virtual_hospital.geometry import CORONAL, Grid, regrid, stack
from virtual_hospital.series import Series, Session, joined
from virtual_hospital.tissues import Tissue

_ARTERIAL = Technique(changed=((Tissue.BLOOD, 330.0),))
_VENOUS = Technique(changed=((Tissue.BLOOD, 120.0), (Tissue.DURA, 110.0), (Tissue.TUMOR, 80.0)))
_SHARP = Technique(grain_mm=0.2)
_LOW_KV = Technique(
    changed=((Tissue.COMPACT_BONE, 2100.0), (Tissue.DIPLOE, 800.0), (Tissue.CALCIFICATION, 380.0))
)
_AGENT: Mapping[str, HeaderValue] = {"ContrastBolusAgent": "Ultravist 370", "ContrastBolusRoute": "IV"}


def _reconstruct(
    kind: str,
    description: str,
    session: Session,
    grid: Grid,
    technique: Technique = ct.ROUTINE,
    noise_hu: float = 4.5,
    attributes: Mapping[str, HeaderValue] | None = None,
) -> Series:
    """Make a CT on `grid` with the header attributes of the clean CT and further ones."""
    values = ct.acquire(session.head, grid, session.poses.head_to_ct, noise_hu, session.rng, technique)
    return replace(
        session.clean_ct,
        kind=kind,
        description=description,
        values=(values,),
        grids=(grid,),
        wanted="no",
        attributes={**session.clean_ct.attributes, **(attributes or {})},
    )


def _grid(session: Session, count: int = 0, spacing_mm: float = 0.0, shift_mm: float = 0.0) -> Grid:
    """Return the clean CT's slices, or others in its field of view, with half of its rows and columns."""
    clean = session.clean_ct.grids[0]
    spacing = spacing_mm or clean.spacing_mm
    return regrid(clean, session.size // 2, count or clean.shape[0], spacing, spacing, shift_mm)


def _extent_mm(session: Session) -> float:
    clean = session.clean_ct.grids[0]
    return clean.shape[0] * clean.spacing_mm


def _bone(session: Session) -> Series:
    kernel: HeaderValue = "BONE" if session.ct_vendor == "ge" else ["J70h", "3"]
    window: dict[str, HeaderValue] = {
        "ConvolutionKernel": kernel,
        "WindowCenter": "500",
        "WindowWidth": "2000",
    }
    return _reconstruct("ct_bone", "Head 5.0 routine", session, _grid(session), _SHARP, 28.0, window)


def _bone_by_name(session: Session) -> Series:
    """A bone reconstruction without its kernel in the header."""
    name = "BONE ALGO" if session.ct_vendor == "ge" else "Schaedel 5.0 Knochen"
    no_kernel = {"ConvolutionKernel": ""}
    return _reconstruct("ct_bone_by_name", name, session, _grid(session), _SHARP, 28.0, no_kernel)


def _angiography(session: Session) -> Series:
    grid = _grid(session, 24, 1.5, -15.0)
    return _reconstruct("ct_angiography", "CTA Head 1.5", session, grid, _ARTERIAL, 9.0, _AGENT)


def _mip(session: Session) -> Series:
    """Axial maximum intensity projections of an angiography, over three slices each."""
    made = _reconstruct("ct_mip", "CTA MIP ax", session, _grid(session, 16, 3.0), _ARTERIAL, 6.0, _AGENT)
    values = made.values[0]
    highest = np.maximum(np.maximum(values, np.roll(values, 1, 0)), np.roll(values, -1, 0))
    return replace(made, values=(highest,), image_type=("DERIVED", "SECONDARY", "AXIAL", "MIP"))


def _contrast_tag(session: Session) -> Series:
    name = "Head 5.0 routine"
    return _reconstruct("ct_contrast_tag", name, session, _grid(session), _VENOUS, attributes=_AGENT)


def _contrast_name(session: Session) -> Series:
    return _reconstruct("ct_contrast_name", "Head 5.0 post contrast", session, _grid(session), _VENOUS)


def _thin(session: Session) -> Series:
    """The same scan in thin slices: as good as the thick ones."""
    grid = _grid(session, round(_extent_mm(session) / 2.5), 2.5)
    made = _reconstruct("ct_thin", "Head 2.5 thin", session, grid, noise_hu=7.0)
    return replace(made, wanted="acceptable")


def _missing(session: Session) -> Series:
    made = _reconstruct("ct_missing_slices", "Head 5.0 routine", session, _grid(session))
    return replace(without_slices(made, (8, 15, 16)), wanted="acceptable")


def _duplicated(session: Session) -> Series:
    made = _reconstruct("ct_duplicated_slices", "Head 5.0 routine", session, _grid(session))
    return replace(joined([made, made]), wanted="acceptable")


def _two_thicknesses(session: Session) -> Series:
    """Thin slices through the skull base and thick ones above it in one series, as in older protocols.

    Twelve slices of 2.5 mm fill the lowest 30 mm of the clean CT's extent; nine of 10 mm follow without a gap.
    """
    bottom = -_extent_mm(session) / 2
    grids = _grid(session, 12, 2.5, bottom + 15.0), _grid(session, 9, 10.0, bottom + 30.0 + 45.0)
    return joined([_reconstruct("ct_two_thicknesses", "Head routine", session, grid) for grid in grids])


def _reformat_original(session: Session) -> Series:
    """A coronal reformat with the name and the image type of the axial scan."""
    made = reformatted_ct(session.clean_ct, sagittal=False, size=session.size // 2, no_text=False)
    return replace(
        made,
        kind="ct_reformat_original",
        description="Head 5.0 routine",
        image_type=session.clean_ct.image_type,
    )


def _dynamic(kind: str, description: str, session: Session, slices: int, technique: Technique) -> Series:
    """The same few slices several times while contrast agent fills the vessels."""
    grid = regrid(session.clean_ct.grids[0], session.size // 4, slices, 5.0, 5.0)
    rest = _reconstruct(kind, description, session, grid, noise_hu=8.0, attributes=_AGENT)
    full = _reconstruct(kind, description, session, grid, technique, noise_hu=8.0)
    shares = np.linspace(0.0, 1.0, REPEATS, dtype=np.float32)
    values = tuple((1 - share) * rest.values[0] + share * full.values[0] for share in shares)
    numbers = tuple({"AcquisitionNumber": str(n)} for n in range(1, REPEATS + 1))
    return replace(rest, values=values, grids=rest.grids * REPEATS, grid_attributes=numbers)


def _topogram(session: Session) -> Series:
    """A localizer radiograph: one thick coronal slice in place of a projection."""
    size = session.size // 2
    center = session.clean_ct.grids[0].center_mm
    grid = stack(CORONAL, center, (1, size, size), 240.0 / size, 200.0, 120.0)
    made = _reconstruct("topogram", "Topogram 0.6", session, grid, noise_hu=3.0)
    return replace(made, image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"))


def _sinus(session: Session) -> Series:
    """The face alone, with a bone kernel."""
    grid = _grid(session, 14, 3.0, -_extent_mm(session) / 2 + 21.0)
    kernel = {"ConvolutionKernel": "BONEPLUS" if session.ct_vendor == "ge" else "H60s"}
    return _reconstruct("ct_sinus", "Sinus 3.0", session, grid, _SHARP, 20.0, kernel)


def _orbits(session: Session) -> Series:
    grid = _grid(session, 40, 2.0, -20.0)
    return cropped_to_orbits(_reconstruct("ct_orbits", "Orbita 2.0", session, grid, noise_hu=7.0))


def _neck(session: Session) -> Series:
    name = "NECK W/O" if session.ct_vendor == "ge" else "Hals nativ 5.0"
    return _reconstruct("ct_neck", name, session, _grid(session, 22, 5.0, -75.0))


def _attenuation(session: Session) -> Series:
    """The low-dose CT for the attenuation correction of a PET: a long range in a wide field of view."""
    clean = session.clean_ct.grids[0]
    top = clean.position(clean.shape[0] - 1)
    size, count, spacing = session.size // 2, 60, 5.0
    center = np.array([0.0, 0.0, top[2] + 20.0 - count * spacing / 2])
    grid = stack(np.eye(3), center, (count, size, size), 500.0 / size, spacing, spacing)
    name = "CTAC 5.0" if session.ct_vendor == "ge" else "AC CT WB 5.0"
    made = _reconstruct("ct_attenuation", name, session, grid, noise_hu=20.0)
    return replace(made, protocol="PET_CT_WB")


def _dual_energy(session: Session) -> Series:
    """The low-voltage part of a dual-energy scan: bone has far higher HU."""
    name = "GSI 80kVp" if session.ct_vendor == "ge" else "DE_Head 5.0 A_80kV"
    return _reconstruct("ct_dual_energy", name, session, _grid(session), _LOW_KV, 8.0, {"KVP": "80"})


def _cone_beam(session: Session) -> Series:
    """A volume of a flat detector in the angiography suite: its HU are inaccurate."""
    ge = session.ct_vendor == "ge"
    device = {
        "ManufacturerModelName": "INNOVA 4100" if ge else "AXIOM-Artis",
        "ConvolutionKernel": "" if ge else "HU",
        "KVP": "109",
    }
    name = "InnovaCT 3mm" if ge else "20sDCT Head 3.0"
    grid = _grid(session, 40, 3.0)
    made = _reconstruct("ct_cone_beam", name, session, grid, noise_hu=45.0, attributes=device)
    return replace(made, values=tuple(0.8 * values - 60.0 for values in made.values))


#: The function that makes each kind.
MAKERS: Mapping[str, Callable[[Session], Series]] = {
    "ct_bone": _bone,
    "ct_bone_by_name": _bone_by_name,
    "ct_angiography": _angiography,
    "ct_mip": _mip,
    "ct_contrast_tag": _contrast_tag,
    "ct_contrast_name": _contrast_name,
    "ct_thin": _thin,
    "ct_missing_slices": _missing,
    "ct_duplicated_slices": _duplicated,
    "ct_two_thicknesses": _two_thicknesses,
    "ct_reformat_original": _reformat_original,
    "ct_perfusion": lambda session: _dynamic("ct_perfusion", "Head perfusion", session, 6, _VENOUS),
    "ct_bolus_tracking": lambda session: _dynamic(
        "ct_bolus_tracking", "Monitoring 10.0", session, 1, _ARTERIAL
    ),
    "topogram": _topogram,
    "ct_sinus": _sinus,
    "ct_orbits": _orbits,
    "ct_neck": _neck,
    "ct_attenuation": _attenuation,
    "ct_dual_energy": _dual_energy,
    "ct_cone_beam": _cone_beam,
}
