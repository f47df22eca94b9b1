"""Header attributes that all images of a series share: those of the examination, and invented PHI in many others.

virtual_hospital/hiding/attributes.csv lists the attributes that hold PHI.
"""

import datetime as dt
from dataclasses import dataclass

from pydicom.dataset import Dataset

from virtual_hospital.elements import UID_ROOT, even, one_item, set_attributes
from virtual_hospital.hiding.place import PhiValues
from virtual_hospital.hiding.registry import EVERY_HEADER
from virtual_hospital.persona import INSTITUTION, Persona
from virtual_hospital.scanners import Scanner
from virtual_hospital.series import Series


@dataclass(frozen=True)
class Acquisition:
    """A series with its patient, its scanner and its number in the study.

    Attributes:
        series: The series.
        persona: The patient.
        scanner: The scanner.
        seed: Seed of the cohort; it is part of the UIDs.
        n: Number of the patient, from 0.
        number: SeriesNumber.
    """

    series: Series
    persona: Persona
    scanner: Scanner
    seed: int
    n: int
    number: int

    @property
    def study_date(self) -> dt.date:
        """Date of the study: that of the modality's first examination, or of a later one."""
        first = self.persona.ct_date if self.series.modality == "CT" else self.persona.mr_date
        return first + dt.timedelta(days=self.series.days_later)

    @property
    def date(self) -> str:
        """StudyDate."""
        return self.study_date.strftime("%Y%m%d")

    @property
    def study_uid(self) -> str:
        """StudyInstanceUID; it holds the PatientID and the date, as the UIDs of some vendors do."""
        study = 1 if self.series.modality == "CT" else 3 if self.series.days_later else 2
        return f"{UID_ROOT}.{self.seed % 10**6}.{self.persona.patient_id}.{self.date}.{study}"

    @property
    def series_uid(self) -> str:
        """SeriesInstanceUID: the study's UID and the series number."""
        return f"{self.study_uid}.{self.number}"

    @property
    def phi(self) -> PhiValues:
        """Values of the patient and of this examination that a hiding place can hold."""
        persona, is_ct = self.persona, self.series.modality == "CT"
        return PhiValues(
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
    """Return the attributes that all images of the series have in common."""
    persona, series = acquisition.persona, acquisition.series
    # One patient in four has the family name in the descriptions
    name = f" {persona.family}" if acquisition.n % 4 == 1 else ""
    clock = f"{9 + acquisition.n % 8:02d}{12 + acquisition.number:02d}40"
    image = set_attributes(
        Dataset(),
        {
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
            "StudyDescription": f"{series.modality} Brain{name}",
            "SeriesDescription": f"{series.description}{name}",
            "ProtocolName": f"{series.protocol}{name.upper()}",
            "ImageType": list(series.image_type),
            "BodyPartExamined": "HEAD",
            "PatientPosition": "HFS",
            **acquisition.scanner.attributes,
            **series.attributes,
        },
    )
    for place in EVERY_HEADER:
        place.put(image, acquisition.phi)
    _add_private_blocks(image, acquisition)
    return image


def _add_private_blocks(image: Dataset, acquisition: Acquisition) -> None:
    """Add the scanner's private block with the patient's name in binary data, and an archive's with a sequence."""
    persona, scanner = acquisition.persona, acquisition.scanner
    binary = f"SV10\x04\x03\x02\x01tPatientName = {persona.family}^{persona.given};tDate={acquisition.date};"
    vendor = image.private_block(scanner.private_group, scanner.private_creator, create=True)
    vendor.add_new(0x10, "OB", even(binary.encode("latin-1")))
    vendor.add_new(0x20, "LO", f"{persona.family} {persona.patient_id}")
    archive = image.private_block(0x0033, "CORVINA ARCHIVE 1.0", create=True)
    archive.add_new(0x01, "SQ", one_item(PatientName=persona.name))
    archive.add_new(0x02, "UN", even(persona.given.encode()))
