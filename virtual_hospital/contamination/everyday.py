"""The kinds of unwanted series that most patients have: localizer, coronal, TSE, T1, FLAIR, CT reformat, key image."""

from dataclasses import replace

import numpy as np

from virtual_hospital import ct
from virtual_hospital.elements import HeaderValue
from virtual_hospital.geometry import CORONAL, SAGITTAL, Grid, sample, stack
from virtual_hospital.mr import Sequence
from virtual_hospital.series import MR_FIELD_MM, Series, Session, axial_mr_grid, spin_echo


def everyday_series(n: int, session: Session) -> list[Series]:
    """Make these series of patient n. Names and header attributes vary with n; some of them are misleading."""
    size = session.size // 2
    axial = axial_mr_grid(session.poses.head_to_mr, size, session.rng, count=18)
    planes = _localizer_grids(session, size)
    made = [spin_echo(session, "localizer", ("Survey", "Survey_32ch"), planes, Sequence(900.0, 8.0))]
    if n % 4 != 3:
        names = ("AX T2 SE cor", "T2W_SE_AX") if n % 6 == 4 else ("COR T2", "T2W_SE_COR")
        grid = _coronal_grid(session, size)
        made.append(spin_echo(session, "coronal", names, (grid,), Sequence(4200.0, 95.0)))
    made.append(_turbo_spin_echo(n, session))
    names = ("AX T2 repeat", "T1W_SE_AX") if n % 8 == 6 else ("AX T1", "T1W_SE_AX")
    made.append(spin_echo(session, "t1", names, (axial,), Sequence(560.0, 12.0)))
    names = ("AX T2 dark fluid", "T2W_FLAIR") if n % 3 == 1 else ("AX FLAIR", "FLAIR_longTR")
    made.append(spin_echo(session, "flair", names, (axial,), Sequence(9500.0, 120.0, 24, 2600.0)))
    made.append(reformatted_ct(session.clean_ct, sagittal=n % 2 == 1, size=size, no_text=n % 4 != 1))
    made.append(_key_image(session.clean_ct))
    return made


def _localizer_grids(session: Session, size: int) -> tuple[Grid, ...]:
    """Three thick slices with large pixels in each of three planes."""
    center = session.poses.head_to_mr[:3, 3]
    return tuple(
        stack(plane, center, (3, size, size), 250.0 / size, 20.0, 8.0)
        for plane in (np.eye(3), CORONAL, SAGITTAL)
    )


def _coronal_grid(session: Session, size: int) -> Grid:
    center = session.poses.head_to_mr[:3, 3]
    return stack(CORONAL, center, (16, size, size), MR_FIELD_MM / size, 8.0, 5.0)


def _turbo_spin_echo(n: int, session: Session) -> Series:
    """An axial TSE T2, similar to the wanted series: the length of its echo train, its name or both tell it apart."""
    grid = axial_mr_grid(session.poses.head_to_mr, session.size * 3 // 4, session.rng, count=18)
    names = (("AX T2 TSE", "T2W_TSE_AX"), ("AX T2", "T2W_AX"), ("T2W_TSE_CLEAR", "T2W_TSE_CLEAR"))[n % 3]
    removed = {"EchoTrainLength": None, "SequenceVariant": None} if n % 3 == 2 else None
    return spin_echo(session, "tse", names, (grid,), Sequence(3900.0, 98.0, 15), removed)


def reformatted_ct(source: Series, sagittal: bool, size: int, no_text: bool) -> Series:
    """Make a multiplanar reformat from the slices of a CT.

    Args:
        source: The CT.
        sagittal: Whether the slices are sagittal; otherwise they are coronal.
        size: Rows and columns.
        no_text: Whether the header says that no text is burned in; many workstations do not say it.
    """
    grid = source.grids[0]
    target = stack(
        SAGITTAL if sagittal else CORONAL, grid.center_mm, (16, size, size), 240.0 / size, 9.0, 5.0
    )
    values = sample(source.values[0], target, np.linalg.inv(grid.index_to_mm), ct.OUTSIDE_CIRCLE_HU)
    name = "MPR sag 5mm" if sagittal else "MPR cor 5mm"
    attributes: dict[str, HeaderValue] = {"WindowCenter": "40", "WindowWidth": "80"}
    if no_text:
        attributes["BurnedInAnnotation"] = "NO"
    image_type = ("DERIVED", "SECONDARY", "REFORMATTED")
    return Series("derived", "CT", name, "HeadRoutine", (values,), (target,), image_type, attributes)


def _key_image(source: Series) -> Series:
    """The middle slice of the CT as 8-bit gray values (1, H, W); a capture gets the patient's name burned in."""
    grid, values = source.grids[0], source.values[0]
    middle = values[len(values) // 2 : len(values) // 2 + 1]
    gray = np.clip((middle + 10.0) * 255.0 / 90.0, 0.0, 255.0)
    attributes: dict[str, HeaderValue] = {"BurnedInAnnotation": "YES", "ConversionType": "WSD"}
    image_type = ("DERIVED", "SECONDARY")
    made = Series("secondary_capture", "CT", "Key images", "", (gray,), (grid,), image_type, attributes)
    return replace(made, form="capture")
