"""The dry run behind `mrct check`: what a folder holds, what is rejected and why, how many pairs to expect.

It reads headers of raw data, writes nothing, and its report shows no header text: patients and series are
numbered. The rules and the choice are those of the stage `select`; de-identification may reject more.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mrct.cli.check_view import patient_table, possible_pairs, series_table
from mrct.core.files import VOLUME_SUFFIXES
from mrct.core.parallel import map_processes
from mrct.dicom.frames import read_instances
from mrct.dicom.header import IMAGE_CLASSES
from mrct.dicom.read import Unreadable, find_files
from mrct.dicom.series import Instance, Series, group
from mrct.selection.choose import Choice, choose
from mrct.selection.classify import Rules
from mrct.selection.explain import explain_empty

_CHUNK = 200

# fitted on one core to the data stages up to `normalize`, over one patient of 197 files of 512 x 512 (50 s)
# and six of 146 files of 128 x 128 (33 s); the disk is that of their folders, NIfTI and arrays included
SECONDS_A_FILE = 0.008
SECONDS_A_MEGABYTE = 0.45
SECONDS_A_PATIENT = 5.0
DISK_FACTOR = 2.5
# volumes come compressed, and are copied by four stages
VOLUME_DISK_FACTOR = 6.0


@dataclass(frozen=True)
class CheckReport:
    """What was found. `skipped`: reason -> files. `choices`: patients numbered, their series "1.1", "1.2"."""

    layout: str
    n_files: int
    skipped: dict[str, int]
    choices: tuple[Choice, ...]
    n_patients: int
    n_paired: int
    expected_pairs: int
    disk_bytes: int
    seconds: float
    problem: str = ""
    notes: tuple[str, ...] = field(default=())


def check(source: Path, rules: Rules) -> CheckReport:
    """Dry run over a folder of DICOM or of volumes (<case>/{mr*,ct}.nii.gz|mha|mhd), whichever it holds.

    Raises FileNotFoundError or NotADirectoryError for a missing or empty folder.
    """
    paths = find_files(source)
    if any(_is_volume(path) for path in paths):
        return _check_volumes(paths)
    instances, skipped = _read_headers(paths)
    choices = tuple(_choices(instances, rules))
    paired = [choice for choice in choices if choice.status == "paired"]
    files = {instance.path for instance in instances}
    n_bytes = sum(path.stat().st_size for path in files)
    return CheckReport(
        layout="dicom",
        n_files=len(paths),
        skipped=skipped,
        choices=choices,
        n_patients=len(choices),
        n_paired=len(paired),
        expected_pairs=sum(possible_pairs(choice) for choice in paired),
        disk_bytes=int(n_bytes * DISK_FACTOR),
        seconds=_seconds(len(files), n_bytes, len(paired)),
        problem="" if paired else _problem(choices, rules),
    )


def _problem(choices: Sequence[Choice], rules: Rules) -> str:
    if not choices:
        return "The folder holds no CT or MR image that can be read; it should hold DICOM of both."
    return explain_empty(choices, rules)


def _read_headers(paths: Sequence[Path]) -> tuple[list[Instance], dict[str, int]]:
    chunks = [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]
    results = [item for part in map_processes(_read_chunk, chunks, "read headers") for item in part]
    skipped = Counter(item for item in results if isinstance(item, str))
    instances = [instance for item in results if not isinstance(item, str) for instance in item]
    return instances, dict(sorted(skipped.items()))


def _read_chunk(paths: Sequence[Path]) -> list[list[Instance] | str]:
    """Each file's images, or why it is skipped."""
    return [_read_one(path) for path in paths]


def _read_one(path: Path) -> list[Instance] | str:
    try:
        instances = read_instances(path)
    except Unreadable as error:
        return error.reason
    if instances[0].sop_class_uid not in IMAGE_CLASSES:
        return "no CT or MR image (report, screen capture, plan, media directory ...)"
    return instances


def _choices(instances: Sequence[Instance], rules: Rules) -> list[Choice]:
    """Patients and series renumbered in the order of their ids, which never leave this function."""
    series = group(instances, lambda instance: (instance.patient_id, instance.series_uid))
    patients: dict[str, list[Series]] = {}
    for item in series:
        patients.setdefault(item.patient, []).append(item)
    result = []
    for number, items in enumerate(patients.values(), 1):
        patient = str(number)
        named = [replace(one, patient=patient, name=f"{number}.{n}") for n, one in enumerate(items, 1)]
        result.append(choose(patient, named, rules))
    return result


def _seconds(n_files: int, n_bytes: int, n_paired: int) -> float:
    return n_files * SECONDS_A_FILE + n_bytes / 1e6 * SECONDS_A_MEGABYTE + n_paired * SECONDS_A_PATIENT


def _is_volume(path: Path) -> bool:
    return path.name.lower().endswith(VOLUME_SUFFIXES)


def _check_volumes(paths: Sequence[Path]) -> CheckReport:
    cases: dict[Path, set[str]] = {}
    volumes = [path for path in paths if _is_volume(path)]
    for path in volumes:
        name = path.name.lower()
        kind = "ct" if name.startswith("ct") else "mr" if name.startswith("mr") else "other"
        cases.setdefault(path.parent, set()).add(kind)
    paired = [kinds for kinds in cases.values() if {"ct", "mr"} <= kinds]
    other = len(paths) - len(volumes)
    n_bytes = sum(path.stat().st_size for path in volumes)
    return CheckReport(
        layout="volumes",
        n_files=len(paths),
        skipped={"no volume": other} if other else {},
        choices=(),
        n_patients=len(cases),
        n_paired=len(paired),
        expected_pairs=0,
        disk_bytes=int(n_bytes * VOLUME_DISK_FACTOR),
        seconds=_seconds(len(volumes), n_bytes, len(paired)),
        problem="" if paired else "No case folder holds both a ct.* and an mr*.* volume.",
        notes=("Volumes know no echo times: source_layout and select.weighting must say what they are.",),
    )


def render(report: CheckReport) -> RenderableType:
    """The report for a terminal: counts, the table of series, patients, what to expect."""
    parts: list[RenderableType] = [_counts(report)]
    if report.choices:
        parts += [series_table(report.choices), patient_table(report.choices)]
    parts.append(_outlook(report))
    parts += [Text(note, style="dim") for note in report.notes]
    if report.problem:
        parts.append(Text(report.problem, style="bold red"))
    return Group(*parts)


def _counts(report: CheckReport) -> Table:
    table = Table("files", "count", title=f"Found ({report.layout})", title_justify="left")
    table.add_row("all", str(report.n_files))
    for reason, count in report.skipped.items():
        table.add_row(f"skipped: {reason}", str(count))
    return table


def _outlook(report: CheckReport) -> Text:
    pairs = f", about {report.expected_pairs} slice pairs" if report.expected_pairs else ""
    return Text(
        f"{report.n_paired} of {report.n_patients} patients have both{pairs}. Up to `normalize` expect about "
        f"{report.disk_bytes / 1e9:.1f} GB of disk and "
        f"{max(1, round(report.seconds / 60))} min on one core."
    )
