"""The part of `mrct check` that inspects volumes in the layouts of SynthRAD and RIRE.

Every volume is read to its end, because its header does not tell whether the file is whole.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mrct.core.errors import NotFoundError
from mrct.core.parallel import map_processes
from mrct.deid.volumes import Case, find_cases, read_case
from mrct.imaging.volumes import to_lps
from mrct.leaks.phi_values import PhiValues
from mrct.selection.chosen import judge


@dataclass(frozen=True)
class VolumeCases:
    """The cases of a folder.

    Attributes:
        n_cases: Number of cases.
        n_paired: Number of cases whose CT and MR, and mask if there is one, can be used.
        n_volumes: Number of volume files that the cases consist of.
        n_bytes: Size of these files.
        skipped: Reason -> number of files that are not used.
    """

    n_cases: int
    n_paired: int
    n_volumes: int
    n_bytes: int
    skipped: dict[str, int]


def find_volume_cases(source: Path, paths: Sequence[Path]) -> list[Case]:
    """Find the cases among the sorted files of `source`, in the layout of RIRE, which includes that of SynthRAD."""
    try:
        return find_cases(source, "rire", paths)
    except NotFoundError:
        return []


def has_pair(cases: Sequence[Case]) -> bool:
    """Return whether a case has files of both images; they are not read."""
    return any({"ct", "mr"} <= set(case.files) for case in cases)


def inspect_volumes(cases: Sequence[Case], n_files: int) -> VolumeCases:
    """Read the volumes of all cases.

    Args:
        cases: The cases of a folder.
        n_files: Number of all files in the folder.
    """
    reasons = map_processes(_refusals, list(cases), "read volumes")
    skipped = Counter(reason for one in reasons for reason in one)
    skipped.update(verdict.reason for case in cases for verdict in case.repeated)
    volumes = [file.path for case in cases for file in case.files.values()]
    others = n_files - len(volumes) - sum(len(case.repeated) for case in cases)
    if others:
        skipped["not part of the layout"] = others
    return VolumeCases(
        n_cases=len(cases),
        n_paired=sum(not one for one in reasons),
        n_volumes=len(volumes),
        n_bytes=sum(path.stat().st_size for path in volumes if path.is_file()),
        skipped=dict(sorted(skipped.items())),
    )


def _refusals(case: Case) -> list[str]:
    """Return why a case cannot be used: its files cannot, or their values are no HU and no signal, as in `select`."""
    images, verdicts = read_case(case, PhiValues())
    values = [] if verdicts else [judge(to_lps(images["ct"]), "CT"), judge(to_lps(images["mr"]), "MR")]
    return [verdict.reason for verdict in verdicts] + [
        one.verdict.reason for one in values if one.verdict.rule
    ]
