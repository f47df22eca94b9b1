"""De-identification of volumes in the folder layouts of SynthRAD2023 and RIRE: they are rewritten without free text.

synthrad: <case>/{mr,ct,mask}.{nii.gz,nii,mha}, registered. rire: <case>/ or the source itself, with ct.* and
mr_<weighting>.*, not registered. The output is images/<patient>/{ct,mr,mask}.nii.gz, where <patient> is the keyed
pseudonym of the path of the case's folder below the source: centers may number their cases alike. Each output file is
searched for the texts of the source's headers and paths.
"""

import gzip
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import SimpleITK as sitk

from mrct.core.contracts import FileAction
from mrct.core.errors import DataError, NotFoundError
from mrct.core.files import output_folder, volume_stem
from mrct.core.parallel import map_processes
from mrct.deid import audit
from mrct.deid.audit import Record, Verdict
from mrct.deid.pseudonyms import Pseudonyms
from mrct.dicom.archives import advice, archive_reason_of
from mrct.dicom.read import find_files
from mrct.imaging.stored_volume import VolumeError
from mrct.imaging.volume_files import read_volume_file
from mrct.leaks.output_sweep import find_leak
from mrct.leaks.phi_values import PhiValues
from mrct.leaks.value_sources import add_header

Layout = Literal["synthrad", "rire"]
Role = Literal["ct", "mr", "mask"]
_ROLES: tuple[Role, ...] = ("ct", "mr", "mask")

# sizeof_hdr of NIfTI-1 and its four bytes of extension
_NIFTI_HEADER_BYTES = 352
_WORDS_OF_NIFTI = frozenset({"n+1", "n", "1", "itk"})


@dataclass(frozen=True)
class SourceFile:
    """A file, and its index in the sorted listing of the source."""

    index: int
    path: Path


@dataclass(frozen=True)
class Case:
    """The files of one patient.

    Attributes:
        identity: Path of the case's folder below the source; the name of the source if it is the case itself.
        folders: Names of the folders from the source down to the case.
        files: Role -> file.
        repeated: Verdicts of further files with the same role.
    """

    identity: str
    folders: tuple[str, ...]
    files: Mapping[Role, SourceFile]
    repeated: tuple[Verdict, ...] = ()


@dataclass(frozen=True)
class VolumeTask:
    """One case, and the folder to which images/<patient>/ is written."""

    case: Case
    out: Path
    pseudonyms: Pseudonyms


@dataclass
class WrittenCase:
    """The result for a case.

    Attributes:
        record: What happened to its files.
        weighting: t1, t2 or any, of the MR; empty if nothing was written.
        n_values: Number of values that were searched for.
    """

    record: Record = field(default_factory=Record)
    weighting: str = ""
    n_values: int = 0


def anonymize_volumes(source: Path, layout: Layout, out: Path, pseudonyms: Pseudonyms) -> None:
    """Write the volumes of a source without data that identify a person.

    `out` gets images/<patient>/{ct,mr,mask}.nii.gz, audit/ and manifest.json, and appears only when it is complete.

    Args:
        source: Folder of the source.
        layout: Layout of its folders.
        out: Output folder; it lies outside `source`.
        pseudonyms: The mapping of identities.

    Raises:
        DataError: No file can be used, or two patients got the same pseudonym.
        NotFoundError: `source` is no folder, or it holds no volume of this layout.
    """
    files = find_files(source)
    cases = find_cases(source, layout, files)
    audit.require_distinct(pseudonyms.patient(case.identity) for case in cases)
    with output_folder(out) as folder:
        tasks = [VolumeTask(case, folder, pseudonyms) for case in cases]
        record, weightings, n_values = Record(), set(), 0
        for written in map_processes(write_case, tasks, "anonymize"):
            record.add(written.record)
            weightings |= {written.weighting} - {""}
            n_values += written.n_values
        listed = {verdict.source_index for verdict in record.verdicts}
        others = (index for index in range(len(files)) if index not in listed)
        record.verdicts += [
            Verdict(index, FileAction.SKIPPED, archive_reason_of(files[index]) or "not part of the layout")
            for index in others
        ]
        audit.require_kept(source, record)
        weighting = weightings.pop() if len(weightings) == 1 else "any"
        audit.write_manifest(folder, "volumes", layout == "synthrad", weighting)
        audit.write_volume_audit(folder, record, layout, n_values)


def find_cases(root: Path, layout: Layout, files: Sequence[Path]) -> list[Case]:
    """Find the cases among the sorted files of `root`, in order of their folders.

    Raises:
        NotFoundError: There is no volume of this layout.
        DataError: Two cases cannot be told apart.
    """
    by_folder: dict[Path, list[tuple[Role, SourceFile]]] = {}
    for index, path in enumerate(files):
        if role := _role(path, layout):
            by_folder.setdefault(path.parent, []).append((role, SourceFile(index, path)))
    cases = [_case(root, folder, by_folder[folder]) for folder in sorted(by_folder)]
    if not cases:
        expected = "<case>/{mr,ct,mask}.nii.gz" if layout == "synthrad" else "<case>/{mr_*,ct}.nii.gz"
        raise NotFoundError(
            f"{root}: no volume of the layout {layout}; it should hold {expected} (or .nii, .mha)"
            + advice(Counter(map(archive_reason_of, files)))
        )
    if len({case.identity for case in cases}) < len(cases):
        raise DataError(
            f"{root}: it holds volumes itself and has a case folder of its own name, so that the two cases would "
            "get one pseudonym; move its volumes into a case folder of another name"
        )
    return cases


def weighting_of(path: Path) -> str:
    """Return t1 or t2 if the name of an MR file says so, else any."""
    words = volume_stem(path).lower().split("_")
    return next((word for word in words if word in ("t1", "t2")), "any")


def _role(path: Path, layout: Layout) -> Role | None:
    stem = volume_stem(path).lower()
    if layout == "rire" and stem.startswith("mr_"):
        return "mr"
    return next((role for role in _ROLES if role == stem), None)


def _case(root: Path, folder: Path, files: Sequence[tuple[Role, SourceFile]]) -> Case:
    found: dict[Role, SourceFile] = {}
    repeated = []
    for role, file in files:
        if role in found:
            reason = f"another {role} volume of this case comes first in the listing"
            repeated.append(Verdict(file.index, FileAction.REJECTED, reason))
        else:
            found[role] = file
    below = folder.relative_to(root)
    source = root.resolve().name
    return Case(below.as_posix() if below.parts else source, (source, *below.parts), found, tuple(repeated))


def write_case(task: VolumeTask) -> WrittenCase:
    """Write the volumes of one case, or record why they cannot be used.

    If an output still holds a text of the source, no file of the case stays.
    """
    case, written = task.case, WrittenCase()
    record = written.record
    record.verdicts += case.repeated
    phi_values = PhiValues()
    for name in case.folders:
        phi_values.add_text(name, "case folder", shortest_part=4)
    images, refused = read_case(case, phi_values)
    record.verdicts += refused
    if refused:
        return written
    patient = task.pseudonyms.patient(case.identity)
    for role, image in images.items():
        output = f"images/{patient}/{role}.nii.gz"
        path = task.out / output
        path.parent.mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(image, str(path), useCompression=True)
        record.bytes += path.stat().st_size
        record.verdicts.append(Verdict(case.files[role].index, FileAction.KEPT, output=output))
    written.n_values = len(phi_values)
    record.leak = _find_leak(record.kept, task.out, patient, phi_values)
    if record.leak:
        shutil.rmtree(task.out / "images" / patient)
        written.record = record.withdrawn()
        return written
    written.weighting = weighting_of(case.files["mr"].path)
    return written


def read_case(case: Case, phi_values: PhiValues) -> tuple[dict[Role, sitk.Image], list[Verdict]]:
    """Read the volumes of a case with their geometry and without their metadata.

    Args:
        case: The case.
        phi_values: Receives the texts of the headers.

    Returns:
        Role -> volume, a mask as 0 and 1; and the verdicts of its files if the case cannot be used, else none.
    """
    images: dict[Role, sitk.Image] = {}
    refused: dict[Role, Verdict] = {}
    for role, file in case.files.items():
        try:
            image = read_volume_file(file.path)
            add_header(file.path, phi_values)
        except VolumeError as error:
            refused[role] = Verdict(file.index, FileAction.QUARANTINED, error.reason)
        except Exception:  # damaged extensions of a header fail in many ways
            reason = "the texts of its header cannot be read: export it again"
            refused[role] = Verdict(file.index, FileAction.QUARANTINED, reason)
        else:
            images[role] = sitk.Cast(image > 0, sitk.sitkUInt8) if role == "mask" else image
    problem = _missing(case) or next((f"the {role} of this case cannot be used" for role in refused), "")
    if problem:
        for role in images:
            refused[role] = Verdict(case.files[role].index, FileAction.REJECTED, problem)
    return images, list(refused.values())


def _missing(case: Case) -> str:
    absent = [role.upper() for role in ("ct", "mr") if role not in case.files]
    return f"no {' and no '.join(absent)} volume in this case" if absent else ""


def _find_leak(written: Sequence[Verdict], out: Path, patient: str, phi_values: PhiValues) -> str:
    """Search the written files, and return which of them holds which text of the source; "" if none does."""
    for verdict in written:
        content = (out / verdict.output).read_bytes()
        data = gzip.decompress(content)
        header, voxels = data[:_NIFTI_HEADER_BYTES], data[_NIFTI_HEADER_BYTES:]
        names = verdict.output.encode() + b"\0" + content[:32]
        ours = _WORDS_OF_NIFTI | {patient.lower(), "images"}
        keyword = find_leak(names + header, voxels, phi_values, ours)
        if keyword is not None:
            return f"the output of file {verdict.source_index} would hold a text of the source: {keyword}"
    return ""
