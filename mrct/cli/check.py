"""The dry run `mrct check`: the content of a folder, rejected series with reasons, and the number of pairs to expect.

It reads the headers of raw DICOM, the pixels of the chosen series, and volumes to their end, and writes nothing. Its
report shows numbers, vendors and words of this program, never the text of a header; patients and series are numbered.
The rules, the choice and the tests of the values are those of the stage `select`, but de-identification may reject more
images.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mrct.cli.volume_check import VolumeCases, find_volume_cases, has_pair, inspect_volumes
from mrct.core.contracts import SelectionStatus
from mrct.core.files import is_volume_file
from mrct.core.parallel import map_processes
from mrct.dicom.archives import advice
from mrct.dicom.copies import without_copies
from mrct.dicom.errors import Unreadable
from mrct.dicom.identity import NO_PATIENT_ID
from mrct.dicom.read import find_files
from mrct.dicom.series import Instance, read_instances
from mrct.dicom.stack import plane
from mrct.dicom.uids import IMAGE_CLASSES
from mrct.selection.acquisition import weighting
from mrct.selection.choose import Choice
from mrct.selection.chosen import Grouped, choose_and_build, group_tolerantly
from mrct.selection.explain import explain_empty
from mrct.selection.parameters import Rules

_CHUNK = 200
_COPY = "a copy of an image that another file holds"
_CONTRADICTION = "the same SOP Instance UID as another file with other pixels"
_BY_PRODUCT = "a volume file (NIfTI, MetaImage) among DICOM, which is not used"
# cost of the data stages up to `normalize`, on one core (docs/decisions/dry-run-estimates.md)
_SECONDS_PER_FILE = 0.008
_SECONDS_PER_MEGABYTE = 0.45
_SECONDS_PER_PATIENT = 5.0
_DISK_FACTOR = 2.5
# volumes are compressed, and four stages copy them
_VOLUME_DISK_FACTOR = 6.0


@dataclass(frozen=True)
class CheckReport:
    """The content of a folder.

    Attributes:
        layout: dicom or volumes.
        n_files: Number of all files.
        skipped: Reason -> number of files that are skipped for it.
        choices: Numbered patients with numbered series, "1.1", "1.2" and so on; empty for volumes.
        n_patients: Number of patients.
        n_paired: Number of patients with both images.
        expected_pairs: Pairs of slices to expect; 0 if unknown.
        disk_bytes: Disk space that the data stages need.
        seconds: Time that the data stages need on one core.
        problem: Why no patient has both images, or "".
        notes: What else the user should know.
    """

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
    notes: tuple[str, ...] = ()


def check(source: Path, rules: Rules) -> CheckReport:
    """Inspect a folder of DICOM or of volumes (<case>/{mr*,ct}.nii.gz|mha|mhd), whichever it holds.

    Files of the other kind are by-products, as viewers and conversions leave them: DICOM is inspected unless it has no
    pair and a case of volumes has one.

    Args:
        source: The folder.
        rules: The parameters of the selection.

    Raises:
        NotFoundError: The folder is missing or empty.
        DataError: Two cases of volumes cannot be told apart.
    """
    paths = find_files(source)
    instances, skipped = _read_headers(paths)
    choices = tuple(_choices(instances, rules))
    paired = [choice for choice in choices if choice.status == SelectionStatus.PAIRED]
    if not paired and any(map(is_volume_file, paths)):
        cases = find_volume_cases(source, paths)
        if has_pair(cases) or not instances:
            report = _report_volumes(inspect_volumes(cases, paths, rules), len(paths))
            return replace(report, notes=(*report.notes, *_notes(paths)))
    files = {instance.path for instance in instances}
    n_bytes = sum(path.stat().st_size for path in files)
    return CheckReport(
        layout="dicom",
        n_files=len(paths),
        skipped=skipped,
        choices=choices,
        n_patients=len(choices),
        n_paired=len(paired),
        expected_pairs=sum(_possible_pairs(choice) for choice in paired),
        disk_bytes=int(n_bytes * _DISK_FACTOR),
        seconds=_seconds(len(files), n_bytes, len(paired)),
        problem="" if paired else _problem(choices, rules) + advice(skipped),
        notes=_notes(paths),
    )


def _notes(paths: Sequence[Path]) -> tuple[str, ...]:
    """Warn of file names that this program reads and DVC does not (PEP 383: their bytes are surrogates in a str)."""
    count = sum(not _is_utf8(path) for path in paths)
    if not count:
        return ()
    return (
        f"{count} paths are not UTF-8; `dvc repro` cannot track them. Rename them, for example with "
        "`convmv -f latin1 -t utf-8 -r --notest FOLDER`.",
    )


def _is_utf8(path: Path) -> bool:
    try:
        return bool(str(path).encode())
    except UnicodeEncodeError:
        return False


def _problem(choices: Sequence[Choice], rules: Rules) -> str:
    if not choices:
        return "The folder holds no CT or MR image that can be read; it should hold DICOM of both."
    return explain_empty(choices, rules)


def _read_headers(paths: Sequence[Path]) -> tuple[list[Instance], dict[str, int]]:
    chunks = [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]
    results = [item for part in map_processes(_read_chunk, chunks, "read headers") for item in part]
    skipped = Counter(item for item in results if isinstance(item, str))
    distinct = without_copies(one for item in results if not isinstance(item, str) for one in item)
    skipped[_COPY] = distinct.n_copies
    skipped[_CONTRADICTION] = distinct.n_contradictory
    return distinct.instances, dict(sorted((+skipped).items()))


def _read_chunk(paths: Sequence[Path]) -> list[list[Instance] | str]:
    """Read the headers of the images in each file; for a skipped file, return why."""
    return [_read_one(path) for path in paths]


def _read_one(path: Path) -> list[Instance] | str:
    try:
        instances = read_instances(path)
    except Unreadable as error:
        return _BY_PRODUCT if is_volume_file(path) else error.reason
    if instances[0].sop_class_uid not in IMAGE_CLASSES:
        return "no CT or MR image (report, screen capture, plan, media directory ...)"
    if not instances[0].patient_id:
        return NO_PATIENT_ID
    return instances


@dataclass(frozen=True)
class _Patient:
    """The images of a patient, the number that stands for the patient, and the parameters of the selection."""

    number: str
    instances: tuple[Instance, ...]
    rules: Rules


def _choices(instances: Sequence[Instance], rules: Rules) -> list[Choice]:
    """Choose the series of each patient as the stage does, their pixels included."""
    patients: dict[str, list[Instance]] = {}
    for instance in sorted(instances, key=lambda one: one.patient_id):
        patients.setdefault(instance.patient_id, []).append(instance)
    tasks = [_Patient(str(n), tuple(members), rules) for n, members in enumerate(patients.values(), 1)]
    return map_processes(_choose, tasks, "check series")


def _choose(task: _Patient) -> Choice:
    """Choose the series of one patient; the series are numbered, and their ids stay in this function."""
    grouped = group_tolerantly(task.instances, lambda instance: (task.number, instance.series_uid))
    numbered = [
        Grouped(replace(one, name=f"{task.number}.{n}"), measured)
        for n, (one, measured) in enumerate(grouped, 1)
    ]
    return choose_and_build(task.number, numbered, task.rules).choice


def _seconds(n_files: int, n_bytes: int, n_paired: int) -> float:
    return (
        n_files * _SECONDS_PER_FILE + n_bytes / 1e6 * _SECONDS_PER_MEGABYTE + n_paired * _SECONDS_PER_PATIENT
    )


def _report_volumes(cases: VolumeCases, n_files: int) -> CheckReport:
    return CheckReport(
        layout="volumes",
        n_files=n_files,
        skipped=cases.skipped,
        choices=(),
        n_patients=cases.n_cases,
        n_paired=cases.n_paired,
        expected_pairs=0,
        disk_bytes=int(cases.n_bytes * _VOLUME_DISK_FACTOR),
        seconds=_seconds(cases.n_volumes, cases.n_bytes, cases.n_paired),
        problem=""
        if cases.n_paired
        else "No case folder holds both a ct.* and an mr*.* volume that can be used.",
        notes=("Volumes hold no echo times: source_layout and select.weighting must say what they are.",),
    )


def render(report: CheckReport) -> RenderableType:
    """Lay out the report for a terminal: counts, tables of series and patients, and the estimates."""
    parts: list[RenderableType] = [_counts(report)]
    if report.choices:
        parts += [_series_table(report.choices), _patient_table(report.choices)]
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


def _series_table(choices: Sequence[Choice]) -> Table:
    headings = ("series", "kind", "plane", "slices", "vendor", "decision", "rule", "reason")
    table = Table(*headings, title="Series", title_justify="left")
    for choice in choices:
        for decision in choice.decisions:
            item, first = decision.series, decision.series.first
            name, angle = plane(item)
            tilt = f" {angle:.0f}°" if angle else ""
            modality = item.modality if item.modality in ("CT", "MR") else "?"
            table.add_row(
                item.name,
                f"{modality} {weighting(first)}".strip(),
                f"{name}{tilt}",
                str(len(item.instances)),
                first.vendor,
                Text(decision.outcome, style="green" if decision.kept else "red"),
                decision.verdict.rule,
                Text(decision.reason),
            )
    return table


def _patient_table(choices: Sequence[Choice]) -> Table:
    headings = ("patient", "status", "days between", "pairs, about", "reason")
    table = Table(*headings, title="Patients", title_justify="left")
    for choice in choices:
        days = "" if choice.days_between is None else str(choice.days_between)
        pairs = str(_possible_pairs(choice)) if choice.status == SelectionStatus.PAIRED else ""
        table.add_row(choice.patient, choice.status, days, pairs, choice.reason)
    return table


def _possible_pairs(choice: Choice) -> int:
    """Estimate the pairs of slices before registration: the smaller of the two slice counts."""
    sizes = [len(item.instances) for item in (choice.ct, choice.mr) if item is not None]
    return min(sizes) if len(sizes) == 2 else 0


def _outlook(report: CheckReport) -> Text:
    pairs = f", about {report.expected_pairs} slice pairs" if report.expected_pairs else ""
    return Text(
        f"{report.n_paired} of {report.n_patients} patients have both{pairs}. Up to `normalize` expect about "
        f"{report.disk_bytes / 1e9:.1f} GB of disk and "
        f"{max(1, round(report.seconds / 60))} min on one core."
    )
