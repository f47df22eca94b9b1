"""An export on disk: folder and file names that tell the patient's name, and files that are no image."""

import re
import shutil
from pathlib import Path

from mrct.cohort.persona import Persona
from mrct.cohort.phi import Acquisition


def instance_path(acquisition: Acquisition, number: int, sop_uid: str) -> Path:
    """Relative path of an image; one of four habits, by patient. Two of them tell the patient's name."""
    persona, series = acquisition.persona, acquisition.series
    name = f"{persona.family}_{persona.given}".upper().replace(" ", "_")
    folder = re.sub(r"\W+", "_", series.description)
    of_series = f"{acquisition.number:03d}_{folder}"
    flat = f"{name}_{series.modality}_{acquisition.number:02d}_{number:03d}.dcm"
    habits = (
        f"{name}_{persona.patient_id}/{acquisition.date}_{series.modality}/{of_series}/IM{number:04d}",
        f"{persona.given} {persona.family} {persona.patient_id}/{flat}",
        f"PAT{acquisition.n:05d}/ST{series.modality}/SE{acquisition.number:04d}/{number:08d}",
        f"{persona.patient_id}/{sop_uid}.dcm",
    )
    return Path(habits[acquisition.n % len(habits)])


def add_junk(folder: Path, persona: Persona, n: int, written: dict[str, list[Path]]) -> None:
    """Files that every export holds beside images; `written` lists the absolute image paths by kind.

    Even patients: .DS_Store, a DICOMDIR, one image twice. Odd ones: an empty file, a note, an image that the
    copy cut short (of a series that nobody needs).
    """
    if n % 2 == 0:
        (folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1" + bytes(56))
        (folder / "DICOMDIR").write_bytes(bytes(128) + b"DICM" + f"DIRECTORY {persona.name}".encode())
        first = written["clean"][0]
        shutil.copyfile(first, first.with_name(f"{first.stem} copy{first.suffix}"))
        return
    (folder / "IM_EMPTY").write_bytes(b"")
    (folder / "note.txt").write_text(f"CD for {persona.given} {persona.family}, {persona.address}\n")
    for cut in (written.get("flair") or written.get("derived") or [])[-1:]:
        cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 3 // 5])
