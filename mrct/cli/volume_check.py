"""The part of `mrct check` that inspects volumes in the layouts of SynthRAD and RIRE.

Every volume is read to its end, because its header does not tell whether the file is whole.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mrct.core.errors import NotFoundError
from mrct.core.parallel import map_processes
from mrct.deid.volumes import Case, find_cases, read_case
from mrct.dicom.archives import archive_reason_of
from mrct.imaging.volumes import to_lps
from mrct.leaks.phi_values import PhiValues
from mrct.selection.chosen import judge, judge_case
from mrct.selection.parameters import Rules


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


def inspect_volumes(cases: Sequence[Case], paths: Sequence[Path], rules: Rules) -> VolumeCases:
    """Read the volumes of all cases.

    Args:
        cases: The cases of a folder.
        paths: All files in the folder.
        rules: The parameters of the selection.
    """
    reasons = map_processes(partial(_refusals, rules), list(cases), "read volumes")
    skipped = Counter(reason for one in reasons for reason in one)
    skipped.update(verdict.reason for case in cases for verdict in case.repeated)
    volumes = [file.path for case in cases for file in case.files.values()]
    repeated = {verdict.source_index for case in cases for verdict in case.repeated}
    known = set(volumes) | {path for index, path in enumerate(paths) if index in repeated}
    skipped.update(archive_reason_of(path) or "not part of the layout" for path in paths if path not in known)
    return VolumeCases(
        n_cases=len(cases),
        n_paired=sum(not one for one in reasons),
        n_volumes=len(volumes),
        n_bytes=sum(path.stat().st_size for path in volumes if path.is_file()),
        skipped=dict(sorted(skipped.items())),
    )


def _refusals(rules: Rules, case: Case) -> list[str]:
    """Return why a case cannot be used: its files, their values or their size do not allow it, as in `select`."""
    images, verdicts = read_case(case, PhiValues())
    if verdicts:
        return [verdict.reason for verdict in verdicts]
    ct, mr = (to_lps(images[role]) for role in ("ct", "mr"))
    found = [one.verdict.reason for one in (judge(ct, "CT"), judge(mr, "MR")) if one.verdict.rule]
    return found or judge_case(ct, mr, images.get("mask"), rules)
