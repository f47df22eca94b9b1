"""The rarer kinds of unwanted MR series: the rows of mr.csv, and functions for those that one scan cannot make.

Columns of mr.csv:

- kind, wanted: as in data/cohort_truth/series.csv
- plane: axial, coronal, sagittal or three (one stack of slices in each plane)
- angle_deg: rotation of axial slices about x
- center_mm: center of the slices above the origin of the head
- slices, spacing_mm, thickness_mm; shrink: rows and columns of the wanted series divided by those of this one
- tr_ms, te_ms, ti_ms, train (echo train length), flip_deg: the sequence
- appearance: a name in appearance.py, or other_pose (the patient lies elsewhere)
- scanning (ScanningSequence), image_type: values joined by |
- siemens, philips, ge: SeriesDescription|ProtocolName|SequenceName at each vendor
- attributes: further header attributes, KEYWORD=VALUE joined by ;, values joined by |; an empty value removes one
"""

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np

from virtual_hospital import mr
from virtual_hospital.contamination.appearance import OBJECTS, SIGNALS, with_artifact
from virtual_hospital.elements import HeaderValue
from virtual_hospital.geometry import CORONAL, SAGITTAL, Grid, pose, rotation_matrix, stack
from virtual_hospital.mr import NO_CHANGE, Sequence
from virtual_hospital.series import MR_FIELD_MM, MR_SCALE, Series, Session, Wanted, joined, timing_attributes

REPEATS = 10  # how often a dynamic series shows each slice
FOLLOW_UP_DAYS = 200
_T2_ECHO_MS = 90
_PLANES = {"coronal": (CORONAL,), "sagittal": (SAGITTAL,), "three": (np.eye(3), CORONAL, SAGITTAL)}
_ORBIT_FIELD_MM = 140.0


@dataclass(frozen=True)
class MrKind:
    """A row of mr.csv; `names` holds (SeriesDescription, ProtocolName, SequenceName) by vendor."""

    kind: str
    wanted: Wanted
    plane: str
    angle_deg: float
    center_mm: float
    slices: int
    spacing_mm: float
    thickness_mm: float
    shrink: float
    sequence: Sequence
    appearance: str
    image_type: tuple[str, ...]
    names: Mapping[str, tuple[str, str, str]]
    attributes: Mapping[str, str]


def _read_kinds() -> dict[str, MrKind]:
    with Path(__file__).with_name("mr.csv").open(newline="", encoding="ascii") as stream:
        return {row["kind"]: _read_kind(row) for row in csv.DictReader(stream)}


def _read_kind(row: Mapping[str, str]) -> MrKind:
    sequence = Sequence(
        float(row["tr_ms"]),
        float(row["te_ms"]),
        int(row["train"]),
        float(row["ti_ms"]) if row["ti_ms"] else None,
        float(row["flip_deg"]) if row["flip_deg"] else None,
    )
    given = dict(pair.split("=") for pair in row["attributes"].split(";") if pair)
    names = {vendor: _three(row[vendor].split("|")) for vendor in ("siemens", "philips", "ge")}
    return MrKind(
        row["kind"],
        cast(Wanted, row["wanted"]),
        row["plane"],
        float(row["angle_deg"]),
        float(row["center_mm"]),
        int(row["slices"]),
        float(row["spacing_mm"]),
        float(row["thickness_mm"]),
        float(row["shrink"]),
        sequence,
        row["appearance"],
        tuple(row["image_type"].split("|")),
        names,
        {"ScanningSequence": row["scanning"], **given},
    )


def _three(names: list[str]) -> tuple[str, str, str]:
    description, protocol, sequence = names
    return description, protocol, sequence


KINDS = _read_kinds()


def scan(kind: MrKind, session: Session) -> Series:
    """Make one acquisition with the slices, sequence, appearance and names of the kind."""
    to_mr, rng = session.poses.head_to_mr, session.rng
    if kind.appearance == "other_pose":
        to_mr = pose(tuple(rng.uniform(-6, 6, 3)), tuple(rng.uniform(-12, 12, 3)))
    grids = _grids(kind, session, to_mr)
    scanned = OBJECTS[kind.appearance](session.head) if kind.appearance in OBJECTS else session.head
    signal = mr.head_signal(scanned, kind.sequence, SIGNALS.get(kind.appearance, NO_CHANGE))
    images = [mr.acquire(signal, grid, to_mr, 0.009, rng) for grid in grids]
    values = tuple(with_artifact(kind.appearance, MR_SCALE * image, rng) for image in images)
    description, protocol, sequence_name = kind.names[session.mr_vendor]
    attributes = _header_attributes(kind, sequence_name)
    return Series(
        kind.kind, "MR", description, protocol, values, grids, kind.image_type, attributes, wanted=kind.wanted
    )


def _grids(kind: MrKind, session: Session, to_mr: np.ndarray) -> tuple[Grid, ...]:
    planes = _PLANES.get(kind.plane) or (rotation_matrix((kind.angle_deg, 0.0, 0.0)),)
    center = (to_mr @ (0.0, -2.0, kind.center_mm, 1.0))[:3]
    size = max(16, round(session.size / kind.shrink / 4) * 4)
    shape, pixel_mm = (kind.slices, size, size), MR_FIELD_MM / size
    return tuple(
        stack(plane, center, shape, pixel_mm, kind.spacing_mm, kind.thickness_mm) for plane in planes
    )


def _header_attributes(kind: MrKind, sequence_name: str) -> dict[str, HeaderValue]:
    """Return the attributes that follow from the sequence, then those of the row, without empty ones."""
    found = timing_attributes(kind.sequence)
    if kind.sequence.flip_deg is not None:
        found["FlipAngle"] = f"{kind.sequence.flip_deg:.0f}"
    for keyword, text in {"SequenceName": sequence_name, **kind.attributes}.items():
        found[keyword] = text.split("|") if "|" in text else text
    if "DiffusionBValue" in found:
        found["DiffusionBValue"] = float(kind.attributes["DiffusionBValue"])  # a binary VR
    return {keyword: value for keyword, value in found.items() if value != ""}


def without_slices(series: Series, missing: tuple[int, ...]) -> Series:
    """Remove slices of a series of one grid; what is left between them becomes grids of their own."""
    grid, values = series.grids[0], series.values[0]
    runs = np.split(np.arange(len(values)), np.array(missing))
    kept = [run[~np.isin(run, missing)] for run in runs]
    parts = [run for run in kept if len(run)]
    grids = tuple(_part(grid, int(run[0]), len(run)) for run in parts)
    return replace(series, values=tuple(values[run] for run in parts), grids=grids)


def _part(grid: Grid, first: int, count: int) -> Grid:
    matrix = grid.index_to_mm.copy()
    matrix[:3, 3] = grid.position(first)
    return Grid(matrix, (count, *grid.shape[1:]), grid.thickness_mm)


def cropped_to_orbits(series: Series) -> Series:
    """Crop a series of one grid to the anterior middle of each slice, so that the head exceeds the field of view."""
    grid, values = series.grids[0], series.values[0]
    size = round(_ORBIT_FIELD_MM / grid.pixel_spacing_mm)
    left = (grid.shape[2] - size) // 2
    matrix = grid.index_to_mm.copy()
    matrix[:3, 3] += matrix[:3, 0] * left
    kept = np.ascontiguousarray(values[:, :size, left : left + size])
    return replace(series, values=(kept,), grids=(Grid(matrix, kept.shape, grid.thickness_mm),))


def repeated(series: Series, shares: np.ndarray, grid_attributes: list[dict[str, HeaderValue]]) -> Series:
    """Make a dynamic series: the slices of one grid once for each share, multiplied by it, with own attributes."""
    values = tuple(series.values[0] * np.float32(share) for share in shares)
    grids = series.grids * len(shares)
    return replace(series, values=values, grids=grids, grid_attributes=tuple(grid_attributes))


def _duplicated(kind: MrKind, session: Session) -> Series:
    """Each image twice under different UIDs, as if it was sent to the archive twice."""
    made = scan(kind, session)
    return joined([made, made])


def _same_number(kind: MrKind, session: Session) -> Series:
    return replace(scan(kind, session), grid_attributes=({"InstanceNumber": "1"},))


def _missing(kind: MrKind, session: Session) -> Series:
    """Without two neighboring slices, and without a third one above them."""
    return without_slices(scan(kind, session), (9, 10, 15))


def _follow_up(kind: MrKind, session: Session) -> Series:
    """Months later, in another pose."""
    return replace(scan(kind, session), days_later=FOLLOW_UP_DAYS)


def _dual_echo(kind: MrKind, session: Session) -> Series:
    """A proton density and a T2 echo of one scan in one series; the T2 echo alone is acceptable."""
    kinds = [kind, replace(kind, sequence=replace(kind.sequence, te_ms=float(_T2_ECHO_MS)))]
    attributes = tuple(
        {"EchoTime": f"{echo.sequence.te_ms:.0f}", "EchoNumbers": str(n)} for n, echo in enumerate(kinds, 1)
    )
    made = joined([scan(echo, session) for echo in kinds])
    return replace(made, wanted_te_ms=_T2_ECHO_MS, grid_attributes=attributes)


def _merged(kind: MrKind, session: Session) -> Series:
    """T1 and T2 of the same slices that an archive has merged into one series; the T2 alone is acceptable."""
    t2 = replace(kind, sequence=replace(kind.sequence, tr_ms=4200.0, te_ms=95.0))
    parts = [scan(one, session) for one in (kind, t2)]
    attributes = tuple(
        {name: part.attributes[name] for name in ("EchoTime", "RepetitionTime")} for part in parts
    )
    return replace(joined(parts), wanted_te_ms=95, grid_attributes=attributes)


def _perfusion(kind: MrKind, session: Session) -> Series:
    """The same slices while a bolus passes and darkens them."""
    shares = 1.0 - 0.4 * np.exp(-(((np.arange(REPEATS) - 4.5) / 1.5) ** 2))
    times = range(1, REPEATS + 1)
    numbers: list[dict[str, HeaderValue]] = [
        {"TemporalPositionIdentifier": str(n), "AcquisitionNumber": str(n)} for n in times
    ]
    return repeated(scan(kind, session), shares, numbers)


def _csf_flow(kind: MrKind, session: Session) -> Series:
    """One slice at several phases of the cardiac cycle."""
    shares = 1.0 + 0.2 * np.sin(np.linspace(0.0, 2.0 * np.pi, REPEATS, endpoint=False))
    times: list[dict[str, HeaderValue]] = [{"TriggerTime": f"{80 * n}"} for n in range(REPEATS)]
    return repeated(scan(kind, session), shares, times)


def _mosaic(kind: MrKind, session: Session) -> Series:
    """All slices as tiles of one image around the first slice, as Siemens stores functional series."""
    made = scan(kind, session)
    grid, values = made.grids[0], made.values[0]
    side, size = round(len(values) ** 0.5), grid.shape[1]
    tiles = values.reshape(side, side, size, size).swapaxes(1, 2).reshape(1, side * size, side * size)
    matrix = grid.index_to_mm.copy()
    matrix[:3, 3] -= matrix[:3, :2].sum(axis=1) * size * (side - 1) / 2
    return replace(made, values=(tiles,), grids=(Grid(matrix, tiles.shape, grid.thickness_mm),))


def _screenshot(kind: MrKind, session: Session) -> Series:
    made = scan(kind, session)
    gray = np.clip(made.values[0] * (255.0 / 1000.0), 0.0, 255.0)
    return replace(made, values=(gray,), form="capture")


def _two_slabs(kind: MrKind, session: Session) -> Series:
    """Two slabs in one series, with half of the head between them missing."""
    return joined([scan(replace(kind, center_mm=center), session) for center in (-30.0, 50.0)])


# Kinds that are more than one scan
_SPECIAL: Mapping[str, Callable[[MrKind, Session], Series]] = {
    "duplicated_slices": _duplicated,
    "same_instance_number": _same_number,
    "missing_slices": _missing,
    "follow_up": _follow_up,
    "multiframe": lambda kind, session: replace(scan(kind, session), form="multiframe"),
    "mosaic": _mosaic,
    "dual_echo": _dual_echo,
    "perfusion": _perfusion,
    "screenshot": _screenshot,
    "pet": lambda kind, session: replace(scan(kind, session), modality="PT"),
    "csf_flow": _csf_flow,
    "two_slabs": _two_slabs,
    "t2_orbits": lambda kind, session: cropped_to_orbits(scan(kind, session)),
    "merged_series": _merged,
}
#: The function that makes each kind.
MAKERS: Mapping[str, Callable[[Session], Series]] = {
    name: partial(_SPECIAL.get(name, scan), kind) for name, kind in KINDS.items()
}
