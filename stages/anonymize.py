"""anonymize: the images that may leave the hospital, under keyed pseudonyms.  ${source} -> data/anonymized

Files are identified in audit/files.csv by their index in the sorted listing of the source, because the name of a file
may hold the name of a person. CT and MR images are rewritten from an allow-list of attributes and searched for values
that identify the patient; other files are skipped, rejected or quarantined with a reason. The volume layouts (synthrad,
rire) are supported as well.
"""

import sys
from pathlib import Path
from typing import Literal

from pydantic import Field

from mrct.core.errors import DataError
from mrct.core.params import Section, load
from mrct.core.runner import run_stage
from mrct.deid.deidentify import Options
from mrct.deid.export import anonymize_export
from mrct.deid.pseudonyms import (
    Pseudonyms,
    demonstration,
    from_secret,
    is_new_key,
    require_reidentification_place,
    write_reidentification,
)

OUT = Path("data/anonymized")
#: Holds, for each source, a keyed hash of the key that was used last.
WORK = Path(".work/anonymize")
VIRTUAL_COHORT = Path("data/cohort")


class Source(Section):
    """The origin of the data: top-level keys of params.yaml."""

    source: str
    source_layout: Literal["dicom", "synthrad", "rire"]


class Params(Section):
    """The section `anonymize` of params.yaml."""

    key_file: str
    max_shift_days: int = Field(ge=1)
    retain_age_and_sex: bool
    same_person: str = ""
    reidentification_table: str = ""


def main() -> None:
    """Run on the project's folders."""
    source, params = load(Source), load(Params, "anonymize")
    run(params, source, OUT, WORK, choose_pseudonyms(params, source))


def choose_pseudonyms(params: Params, source: Source) -> Pseudonyms:
    """Return the published mapping for the virtual cohort, or the mapping under a secret key for any other source.

    Raises:
        KeyRefusedError: The key is weak or published, or others could read it.
    """
    if source.source_layout == "dicom" and Path(source.source).resolve() == VIRTUAL_COHORT.resolve():
        return demonstration()
    secret = from_secret(Path(params.key_file), (Path.cwd(), Path(source.source)))
    if secret.is_new:
        print(
            f"A new key was made: {params.key_file}. Keep it and keep it secret: without it, the same "
            "patients get other pseudonyms; with it, anyone can tell which patient a pseudonym belongs to.",
            file=sys.stderr,
        )
    return secret.pseudonyms


def run(params: Params, source: Source, out: Path, work: Path, pseudonyms: Pseudonyms) -> None:
    """Fill `out` from the source, and remember in `work` which key was used.

    Raises:
        DataError: Nothing in the source can be used, or a parameter does not suit it.
        LeakError: An output file holds an identifying value; nothing is published.
    """
    root = Path(source.source)
    _require_apart(root, out)
    _require_apart(root, work)
    if source.source_layout == "dicom":
        _anonymize_dicom(params, root, out, work, pseudonyms)
    else:
        _anonymize_volumes(params, source.source_layout, root, out, pseudonyms)


def _require_apart(source: Path, out: Path) -> None:
    inner, outer = out.resolve(), source.resolve()
    if inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise DataError(f"source {source} and output {out} lie inside one another; change the key `source`")


def _anonymize_dicom(params: Params, root: Path, out: Path, work: Path, pseudonyms: Pseudonyms) -> None:
    # everything that can be refused is checked before the work
    table = _reidentification_table(params, root, out)
    if params.same_person:
        pseudonyms = pseudonyms.joined(root, params.same_person)
    if is_new_key(work, pseudonyms, root):
        print(
            "anonymize: this is not the key of the last run on this source: every pseudonym and every date shift "
            "changes. If the key file was lost and a new key was made, restore the old file and run again",
            file=sys.stderr,
        )
    options = Options(params.max_shift_days, params.retain_age_and_sex)
    patient_ids = anonymize_export(root, out, pseudonyms, options)
    if table:
        write_reidentification(table, patient_ids, pseudonyms, options.max_shift_days)


def _reidentification_table(params: Params, root: Path, out: Path) -> Path | None:
    if not params.reidentification_table:
        return None
    table = Path(params.reidentification_table).expanduser()
    require_reidentification_place(table, (Path.cwd(), root, out))
    return table


def _anonymize_volumes(
    params: Params, layout: Literal["synthrad", "rire"], root: Path, out: Path, pseudonyms: Pseudonyms
) -> None:
    for key, value in (
        ("same_person", params.same_person),
        ("reidentification_table", params.reidentification_table),
    ):
        if value:
            raise DataError(
                f'anonymize.{key} serves DICOM sources alone, not the layout {layout}; set it to ""'
            )
    from mrct.deid.volumes import anonymize_volumes  # it imports SimpleITK, which DICOM does not need

    anonymize_volumes(root, layout, out, pseudonyms)


if __name__ == "__main__":
    run_stage("stages.anonymize", private=True)
