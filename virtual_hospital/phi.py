"""What a hospital writes into every header beside the picture: the examination, and invented PHI all over it.

Which attributes tell of the patient is a table, virtual_hospital/hiding/attributes.csv.
"""

import datetime as dt
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

from virtual_hospital.hiding.everywhere import EVERY_HEADER
from virtual_hospital.hiding.place import Secrets
from virtual_hospital.persona import INSTITUTION, Persona
from virtual_hospital.scanners import Scanner
from virtual_hospital.series import Series

UID_ROOT = "1.2.826.0.1.3680043.8.498"


@dataclass(frozen=True)
class Acquisition:
    """A series with the person in the scanner and its place in the study."""

    series: Series
    persona: Persona
    scanner: Scanner
    seed: int
    n: int
    number: int  # SeriesNumber

    @property
    def date(self) -> str:
        """DICOM date of the study."""
        return self.study_date.strftime("%Y%m%d")

    @property
    def study_date(self) -> dt.date:
        """Of the modality's examination, or of a later one."""
        first = self.persona.ct_date if self.series.modality == "CT" else self.persona.mr_date
        return first + dt.timedelta(days=self.series.days_later)

    @property
    def study_uid(self) -> str:
        """Carries the patient's number and the date, as some vendors' UIDs do."""
        study = 1 if self.series.modality == "CT" else 3 if self.series.days_later else 2
        return f"{UID_ROOT}.{self.seed % 10**6}.{self.persona.patient_id}.{self.date}.{study}"

    @property
    def series_uid(self) -> str:
        """The study's UID and the series number."""
        return f"{self.study_uid}.{self.number}"

    @property
    def secrets(self) -> Secrets:
        """What the header can tell of the patient and of this examination."""
        persona, is_ct = self.persona, self.series.modality == "CT"
        return Secrets(
            name=persona.name,
            family=persona.family,
            given=persona.given,
            hangul=persona.hangul,
            patient_id=persona.patient_id,
            birth=persona.birth,
            address=persona.address,
            phone=persona.phone,
            relative=persona.relative,
            referring=persona.referring,
            performing=persona.performing,
            institution=INSTITUTION,
            station=f"CORV{self.series.modality}{1 + self.n % 2}",
            serial=f"{41000 + (0 if is_ct else 7)}",
            accession=persona.accession[0 if is_ct else 1] + ("F" if self.series.days_later else ""),
            study_date=self.study_date,
            study_uid=self.study_uid,
        )


def shared_attributes(acquisition: Acquisition) -> Dataset:
    """All that the series' images have in common."""
    persona, series = acquisition.persona, acquisition.series
    named = f" {persona.family}" if acquisition.n % 4 == 1 else ""
    clock = f"{9 + acquisition.n % 8:02d}{12 + acquisition.number:02d}40"
    image = Dataset()
    for keyword, value in {
        "SpecificCharacterSet": persona.character_set,
        "PatientSex": persona.sex,
        "PatientAge": persona.age(acquisition.study_date),
        "PatientWeight": "71",
        "SeriesInstanceUID": acquisition.series_uid,
        "FrameOfReferenceUID": f"{acquisition.study_uid}.0",
        "StudyTime": f"{clock[:2]}1205",
        "SeriesTime": clock,
        "Modality": series.modality,
        "SeriesNumber": str(acquisition.number),
        "StudyDescription": f"{series.modality} Brain{named}",
        "SeriesDescription": f"{series.description}{named}",
        "ProtocolName": f"{series.protocol}{named.upper()}",
        "ImageType": list(series.image_type),
        "BodyPartExamined": "HEAD",
        "PatientPosition": "HFS",
        **acquisition.scanner.attributes,
        **series.attributes,
    }.items():
        setattr(image, keyword, value)
    for place in EVERY_HEADER:
        place.put(image, acquisition.secrets)
    _put_private(image, acquisition)
    return image


def _put_private(image: Dataset, acquisition: Acquisition) -> None:
    """The vendor's block with a blob that names the patient, and one of the archive with a sequence."""
    persona, scanner = acquisition.persona, acquisition.scanner
    blob = f"SV10\x04\x03\x02\x01tPatientName = {persona.family}^{persona.given};tDate={acquisition.date};"
    vendor = image.private_block(scanner.private_group, scanner.private_creator, create=True)
    vendor.add_new(0x10, "OB", even(blob.encode("latin-1")))
    vendor.add_new(0x20, "LO", f"{persona.family} {persona.patient_id}")
    item = Dataset()
    item.PatientName = persona.name
    archive = image.private_block(0x0033, "CORVINA ARCHIVE 1.0", create=True)
    archive.add_new(0x01, "SQ", DicomSequence([item]))
    archive.add_new(0x02, "UN", even(persona.given.encode()))


def even(data: bytes) -> bytes:
    """DICOM values have an even number of bytes."""
    return data + b"\0" * (len(data) % 2)
