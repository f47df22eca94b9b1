"""An export on disk: folder and file names that tell the patient's name, and files that are no image."""

import re
import shutil
from collections import Counter
from pathlib import Path

from virtual_hospital.hiding.other_files import strangers_of
from virtual_hospital.hiding.place import Secrets
from virtual_hospital.phi import Acquisition

Kind = tuple[str, str]  # name of a hiding place, and where it is

# by patient in turn: (what the path tells of him, and the path)
_HABITS = (
    ("folder_name", "{name}_{id}/{date}_{modality}/{series:03d}_{folder}/IM{number:04d}"),
    ("file_name", "{given} {family} {id}/{name}_{modality}_{series:02d}_{number:03d}.dcm"),
    ("", "PAT{n:05d}/ST{modality}/SE{series:04d}/{number:08d}"),
    ("uid_as_file_name", "{id}/{uid}.dcm"),
)


def instance_path(acquisition: Acquisition, number: int, sop_uid: str) -> Path:
    """Relative path of an image, by the patient's habit."""
    persona, series = acquisition.persona, acquisition.series
    _, habit = _HABITS[acquisition.n % len(_HABITS)]
    return Path(
        habit.format(
            name=f"{persona.family}_{persona.given}".upper().replace(" ", "_"),
            given=persona.given,
            family=persona.family,
            id=persona.patient_id,
            date=acquisition.date,
            modality=series.modality,
            series=acquisition.number,
            folder=re.sub(r"\W+", "_", series.description),
            number=number,
            uid=sop_uid,
            n=acquisition.n,
        )
    )


def path_kinds(n: int) -> tuple[Kind, ...]:
    """The hiding place that patient n's paths are, if any."""
    kind, habit = _HABITS[n % len(_HABITS)]
    return ((kind, habit),) if kind else ()


def add_junk(folder: Path, secrets: Secrets, n: int, written: dict[str, list[Path]]) -> Counter[Kind]:
    """Files that every export holds beside images; `written` lists the absolute image paths by kind.

    Every patient: some of the strangers. Even ones: one image twice. Odd ones: an empty file, and an image
    that the copy cut short (of a series that nobody needs). Returns the kinds of hiding place.
    """
    strangers = strangers_of(n)
    for stranger in strangers:
        stranger.path(folder, secrets).write_bytes(stranger.content(secrets))
    if n % 2 == 0:
        first = next(iter(written.values()))[0]
        shutil.copyfile(first, first.with_name(f"{first.stem} copy{first.suffix}"))
    else:
        (folder / "IM_EMPTY").write_bytes(b"")
        for cut in (written.get("flair") or written.get("derived") or [])[-1:]:
            cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 3 // 5])
    return Counter((stranger.kind, stranger.name) for stranger in strangers)
