"""What a hospital writes into every header beside the picture: invented PHI, in obvious and hidden places.

The hidden places are those of PS3.15 annex E: free text, sequences, private elements, UIDs.
"""

from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

from mrct.cohort.persona import INSTITUTION, Persona
from mrct.cohort.scanners import Scanner
from mrct.cohort.series import Series

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
        persona = self.persona
        return (persona.ct_date if self.series.modality == "CT" else persona.mr_date).strftime("%Y%m%d")

    @property
    def study_uid(self) -> str:
        """Carries the patient's number and the date, as some vendors' UIDs do."""
        study = 1 if self.series.modality == "CT" else 2
        return f"{UID_ROOT}.{self.seed % 10**6}.{self.persona.patient_id}.{self.date}.{study}"

    @property
    def series_uid(self) -> str:
        """The study's UID and the series number."""
        return f"{self.study_uid}.{self.number}"


def shared_attributes(acquisition: Acquisition) -> Dataset:
    """All that the series' images have in common."""
    image = Dataset()
    image.SpecificCharacterSet = acquisition.persona.character_set
    _put_patient(image, acquisition)
    _put_study(image, acquisition)
    _put_series(image, acquisition)
    _put_sequences(image, acquisition)
    _put_private(image, acquisition)
    return image


def _set(image: Dataset, attributes: dict[str, Any]) -> None:
    for keyword, value in attributes.items():
        setattr(image, keyword, value)


def _put_patient(image: Dataset, acquisition: Acquisition) -> None:
    persona = acquisition.persona
    on = persona.ct_date if acquisition.series.modality == "CT" else persona.mr_date
    _set(image, {
        "PatientName": persona.name,
        "PatientID": persona.patient_id,
        "IssuerOfPatientID": INSTITUTION,
        "PatientBirthDate": persona.birth.strftime("%Y%m%d"),
        "PatientSex": persona.sex,
        "PatientAge": persona.age(on),
        "PatientWeight": "71",
        "OtherPatientIDs": f"OLD-{persona.patient_id}",
        "OtherPatientNames": f"{persona.family}^{persona.given[0]}",
        "PatientAddress": persona.address,
        "PatientTelephoneNumbers": persona.phone,
        "PatientMotherBirthName": persona.relative,
        "AdditionalPatientHistory": f"Headache. Call {persona.given} {persona.family} at {persona.phone}.",
        "PatientComments": f"Accompanied by {persona.relative.replace('^', ' ')} {persona.hangul}".strip(),
    })  # fmt: skip


def _put_study(image: Dataset, acquisition: Acquisition) -> None:
    persona, series = acquisition.persona, acquisition.series
    is_ct = series.modality == "CT"
    family = persona.family if acquisition.n % 3 == 0 else ""
    clock = f"{9 + acquisition.n % 8:02d}{12 + acquisition.number:02d}40"
    _set(image, {
        "StudyInstanceUID": acquisition.study_uid,
        "SeriesInstanceUID": acquisition.series_uid,
        "FrameOfReferenceUID": f"{acquisition.study_uid}.0",
        "StudyDate": acquisition.date,
        "StudyTime": f"{clock[:2]}1205",
        "SeriesDate": acquisition.date,
        "SeriesTime": clock,
        "AcquisitionDateTime": f"{acquisition.date}{clock}.000+0900",
        "ContentDate": acquisition.date,
        "AccessionNumber": persona.accession[0 if is_ct else 1],
        "StudyID": f"S{persona.patient_id[-5:]}",
        "StudyDescription": f"{'CT' if is_ct else 'MR'} Brain {family}".strip(),
        "ReferringPhysicianName": persona.referring,
        "PerformingPhysicianName": persona.performing,
        "RequestingPhysician": persona.referring,
        "OperatorsName": "Fennimore^Tess",
        "InstitutionName": INSTITUTION,
        "InstitutionAddress": "1 Lighthouse Road, Corvina Bay",
        "InstitutionalDepartmentName": "Neuroradiology",
        "StationName": f"CORV{series.modality}{1 + acquisition.n % 2}",
        "DeviceSerialNumber": f"{41000 + (0 if is_ct else 7)}",
    })  # fmt: skip


def _put_series(image: Dataset, acquisition: Acquisition) -> None:
    persona, series = acquisition.persona, acquisition.series
    named = acquisition.n % 4 == 1
    _set(image, {
        "Modality": series.modality,
        "SeriesNumber": str(acquisition.number),
        "SeriesDescription": f"{series.description} {persona.family}" if named else series.description,
        "ProtocolName": f"{series.protocol} {persona.family.upper()}" if named else series.protocol,
        "ImageComments": f"{persona.given} {persona.family} {persona.hangul} moved".replace("  ", " "),
        "ImageType": list(series.image_type),
        "BodyPartExamined": "HEAD",
        "PatientPosition": "HFS",
    })  # fmt: skip
    _set(image, acquisition.scanner.attributes)
    _set(image, series.attributes)


def _put_sequences(image: Dataset, acquisition: Acquisition) -> None:
    """Name and number again, up to three sequences deep."""
    persona = acquisition.persona
    step = Dataset()
    _set(step, {"CodeValue": "BRAIN", "CodingSchemeDesignator": "99CORV",
                "CodeMeaning": f"Brain of {persona.family}"})  # fmt: skip
    request = Dataset()
    _set(request, {
        "RequestedProcedureID": persona.accession[0],
        "RequestedProcedureDescription": f"Brain, {persona.family}",
        "ScheduledProcedureStepDescription": f"for {persona.referring.split('^')[0]}",
        "ScheduledProtocolCodeSequence": DicomSequence([step]),
    })  # fmt: skip
    referenced = Dataset()
    _set(referenced, {"ReferencedSOPClassUID": "1.2.840.10008.3.1.2.3.1",
                      "ReferencedSOPInstanceUID": f"{acquisition.study_uid}.9"})  # fmt: skip
    before = Dataset()
    _set(before, {"PatientName": persona.name, "PatientID": f" {persona.patient_id}",
                  "PatientBirthDate": persona.birth.strftime("%Y%m%d")})  # fmt: skip
    original = Dataset()
    _set(original, {
        "ModifiedAttributesSequence": DicomSequence([before]),
        "AttributeModificationDateTime": f"{acquisition.date}203000",
        "ModifyingSystem": "CORVINA_PACS",
        "SourceOfPreviousValues": INSTITUTION,
        "ReasonForTheAttributeModification": "COERCE",
    })  # fmt: skip
    image.RequestAttributesSequence = DicomSequence([request])
    image.ReferencedStudySequence = DicomSequence([referenced])
    image.OriginalAttributesSequence = DicomSequence([original])


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
