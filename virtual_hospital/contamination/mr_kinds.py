"""MR series that nobody asked for: the rows of mr.csv, and what makes some of them special.

mr.csv: kind, wanted, plane, angle_deg (about the patient's x), center_mm (of the head, superior), slices,
spacing_mm, thickness_mm, shrink (of the matrix), timing, look (looks.py), header values, and by vendor
SeriesDescription|ProtocolName|SequenceName. An attribute with an empty value is left out of the header.
"""

import csv
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from virtual_hospital import mr
from virtual_hospital.contamination import looks
from virtual_hospital.contamination.scene import Scene
from virtual_hospital.geometry import CORONAL, SAGITTAL, Grid, pose, rotation_matrix, stack
from virtual_hospital.mr import EMPTY, Sequence
from virtual_hospital.series import MR_SCALE, Series, timing_attributes

Row = Mapping[str, str]
REPEATS = 10  # of a dynamic series
T2_ECHO_MS = 90.0
FOLLOW_UP_DAYS = 200
_FIELD_MM = 234.0


def read_rows(table: str) -> dict[str, Row]:
    """{kind: row} of a table beside this file."""
    with Path(__file__).with_name(table).open(newline="", encoding="ascii") as stream:
        return {row["kind"]: row for row in csv.DictReader(stream)}


ROWS = read_rows("mr.csv")


def make_mr(kind: str, scene: Scene) -> Series:
    """The series of a row, as one scan makes it or as its special maker does."""
    return SPECIAL.get(kind, scan)(ROWS[kind], scene)


def scan(row: Row, scene: Scene) -> Series:
    """One acquisition with the row's timing, grid, look and names."""
    to_mr = scene.poses.head_to_mr
    if row["look"] == "moved":
        to_mr = pose(tuple(scene.rng.uniform(-6, 6, 3)), tuple(scene.rng.uniform(-12, 12, 3)))
    sequence, grids = _sequence(row), _grids(row, scene, to_mr)
    head = looks.INSTEAD[row["look"]](scene.head) if row["look"] in looks.INSTEAD else scene.head
    signal = mr.head_signal(head, sequence, looks.CHANGED.get(row["look"], EMPTY))
    values = [mr.acquire(signal, grid, to_mr, 0.009, scene.rng) for grid in grids]
    scaled = tuple(_changed(row["look"], MR_SCALE * plane, scene.rng) for plane in values)
    description, protocol, name = row[scene.mr_vendor].split("|")
    attributes = _attributes(row, sequence, name)
    image_type = tuple(row["image_type"].split("|"))
    return Series(
        row["kind"], "MR", description, protocol, scaled, grids, image_type, attributes, wanted=_wanted(row)
    )


def _wanted(row: Row) -> Any:
    return row["wanted"]


def _sequence(row: Row) -> Sequence:
    return Sequence(
        float(row["tr_ms"]),
        float(row["te_ms"]),
        int(row["train"]),
        float(row["ti_ms"]) if row["ti_ms"] else None,
        float(row["flip_deg"]) if row["flip_deg"] else None,
    )


def _grids(row: Row, scene: Scene, to_mr: np.ndarray) -> tuple[Grid, ...]:
    """Axial slices lean by the row's angle, in the scanner's frame; "three" is one stack a plane."""
    planes = {
        "axial": (rotation_matrix((float(row["angle_deg"]), 0.0, 0.0)),),
        "coronal": (CORONAL,),
        "sagittal": (SAGITTAL,),
        "three": (np.eye(3), CORONAL, SAGITTAL),
    }[row["plane"]]
    center = (to_mr @ (0.0, -2.0, float(row["center_mm"]), 1.0))[:3]
    size = max(16, round(scene.size / float(row["shrink"]) / 4) * 4)
    shape = (int(row["slices"]), size, size)
    spacing, thickness = float(row["spacing_mm"]), float(row["thickness_mm"])
    return tuple(stack(plane, center, shape, _FIELD_MM / size, spacing, thickness) for plane in planes)


def _attributes(row: Row, sequence: Sequence, name: str) -> dict[str, Any]:
    given = dict(pair.split("=") for pair in row["attributes"].split(";") if pair)
    flip = {} if sequence.flip_deg is None else {"FlipAngle": f"{sequence.flip_deg:.0f}"}
    text = {**given, "ScanningSequence": row["scanning"], "SequenceName": name, **given}
    split: dict[str, Any] = {key: value.split("|") if "|" in value else value for key, value in text.items()}
    if "DiffusionBValue" in split:
        split["DiffusionBValue"] = float(split["DiffusionBValue"])  # a binary VR
    found = {**timing_attributes(sequence), **flip, **split}
    return {key: value for key, value in found.items() if value != ""}


def _changed(look: str, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if look == "blurred":
        return looks.blurred(values)
    if look == "motion":
        return looks.moved(values)
    return looks.phase(values, rng) if look == "phase" else values


def _duplicated(row: Row, scene: Scene) -> Series:
    """Each image twice, as after a second push to the archive, under another UID."""
    made = scan(row, scene)
    return replace(made, values=made.values * 2, grids=made.grids * 2)


def _same_number(row: Row, scene: Scene) -> Series:
    return replace(scan(row, scene), each=({"InstanceNumber": "1"},))


def _missing(row: Row, scene: Scene) -> Series:
    """Without two neighbouring slices and, further up, a third."""
    made = scan(row, scene)
    return without(made, (9, 10, 15))


def without(series: Series, missing: tuple[int, ...]) -> Series:
    """The series of one grid as stacks of the slices that are left between the missing ones."""
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


def _follow_up(row: Row, scene: Scene) -> Series:
    """Months later, the patient lying differently."""
    return replace(scan(row, scene), days_later=FOLLOW_UP_DAYS)


def _dual_echo(row: Row, scene: Scene) -> Series:
    """Proton density and T2 echoes of one scan in one series; the second alone would do."""
    first = scan(row, scene)
    second = scan({**row, "te_ms": str(T2_ECHO_MS)}, scene)
    echoes = [float(row["te_ms"]), T2_ECHO_MS]
    each = tuple({"EchoTime": f"{te:.0f}", "EchoNumbers": str(n)} for n, te in enumerate(echoes, 1))
    both = {"values": first.values + second.values, "grids": first.grids * 2, "each": each}
    return replace(first, wanted_te_ms=f"{T2_ECHO_MS:g}", **both)  # type: ignore[arg-type]


def _dynamic(row: Row, scene: Scene) -> Series:
    """The same slices REPEATS times while a bolus passes and darkens them."""
    made = scan(row, scene)
    drop = 1.0 - 0.4 * np.exp(-(((np.arange(REPEATS) - 4.5) / 1.5) ** 2))
    values = tuple((made.values[0] * np.float32(share)) for share in drop)
    each = tuple(
        {"TemporalPositionIdentifier": str(n), "AcquisitionNumber": str(n)} for n in range(1, REPEATS + 1)
    )
    return replace(made, values=values, grids=made.grids * REPEATS, each=each)


def _mosaic(row: Row, scene: Scene) -> Series:
    """All slices side by side in one picture around the first, as Siemens stores functional series."""
    made = scan(row, scene)
    grid, values = made.grids[0], made.values[0]
    side, size = round(len(values) ** 0.5), grid.shape[1]
    tiles = values.reshape(side, side, size, size).swapaxes(1, 2).reshape(1, side * size, side * size)
    matrix = grid.index_to_mm.copy()
    matrix[:3, 3] -= matrix[:3, :2].sum(axis=1) * size * (side - 1) / 2
    return replace(made, values=(tiles,), grids=(Grid(matrix, tiles.shape, grid.thickness_mm),))


def _screenshot(row: Row, scene: Scene) -> Series:
    made = scan(row, scene)
    grey = np.clip(made.values[0] * (255.0 / 1000.0), 0.0, 255.0)
    return replace(made, values=(grey,), form="capture")


SPECIAL: Mapping[str, Callable[[Row, Scene], Series]] = {
    "duplicated_slices": _duplicated,
    "same_instance_number": _same_number,
    "missing_slices": _missing,
    "follow_up": _follow_up,
    "multiframe": lambda row, scene: replace(scan(row, scene), form="multiframe"),
    "mosaic": _mosaic,
    "dual_echo": _dual_echo,
    "perfusion": _dynamic,
    "screenshot": _screenshot,
    "pet": lambda row, scene: replace(scan(row, scene), modality="PT"),
}
