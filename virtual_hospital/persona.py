"""Invented patients: names, numbers, dates and addresses. Any resemblance to a real person is coincidental."""

import datetime as dt
from dataclasses import dataclass

import numpy as np

# Romanized family and given name, family and given name in hangul
KOREAN = (
    ("Kim", "Areum", "김", "아름"), ("Lee", "Haneul", "이", "하늘"), ("Park", "Byeoldo", "박", "별도"),
    ("Choi", "Garam", "최", "가람"), ("Jeong", "Miru", "정", "미루"), ("Kang", "Nabit", "강", "나빛"),
    ("Yoon", "Dasol", "윤", "다솔"), ("Seo", "Onyu", "서", "온유"),
)  # fmt: skip
WESTERN = (
    ("Quillfeather", "Imogen"), ("Brackenthorpe", "Anselm"), ("Vantreight", "Odalys"),
    ("Muirhollow", "Casimir"), ("Sorrelbank", "Philippa"), ("Tannerwick", "Leopold"),
    ("Ashgrovian", "Rosalind"), ("Dunmarrow", "Ignatius"),
)  # fmt: skip
PHYSICIANS = ("Hawksmoor^Greta^^Dr", "Pellworth^Ottoline^^Dr", "Strandholm^Emeric^^Dr", "Namgoong^Sol^^Dr")
STREETS = ("Lantern Row", "Quarry Bank", "Old Orchard Lane", "Mill Race Street")
INSTITUTION = "Saint Corvina Memorial Hospital"


@dataclass(frozen=True)
class Persona:
    """The data of a patient in the hospital's information system."""

    name: str  # DICOM PN; its phonetic group is in hangul
    family: str
    given: str
    hangul: str
    patient_id: str
    birth: dt.date
    sex: str
    address: str
    phone: str
    relative: str
    referring: str
    performing: str
    ct_date: dt.date
    mr_date: dt.date
    accession: tuple[str, str]

    @property
    def character_set(self) -> list[str]:
        """SpecificCharacterSet: ISO 2022 IR 149 for Korean patients, Latin 1 for others."""
        return ["", "ISO 2022 IR 149"] if self.hangul else ["ISO_IR 100"]

    def age(self, on: dt.date) -> str:
        """Return the age on a date as a DICOM age string in whole years."""
        years = on.year - self.birth.year - ((on.month, on.day) < (self.birth.month, self.birth.day))
        return f"{years:03d}Y"


def draw_persona(n: int, rng: np.random.Generator) -> Persona:
    """Draw patient n; after 16 patients the names repeat with an initial added to the given name."""
    initial = "" if n < 16 else f" {chr(65 + (n // 16 - 1) % 26)}"
    if n % 2 == 0:
        family, given, *hangul = KOREAN[n // 2 % len(KOREAN)]
        name = f"{family}^{given}{initial}=={hangul[0]}^{hangul[1]}"
        written = "".join(hangul)
    else:
        family, given = WESTERN[n // 2 % len(WESTERN)]
        name, written = f"{family}^{given}{initial}", ""
    ct_date = dt.date(2021, 1, 4) + dt.timedelta(days=int(rng.integers(0, 1000)))
    return Persona(
        name=name,
        family=family,
        given=given,
        hangul=written,
        patient_id=f"{int(rng.integers(10_000, 99_999))}{n:03d}",
        birth=dt.date(1931, 1, 1) + dt.timedelta(days=int(rng.integers(0, 26_000))),
        sex=str(rng.choice(("F", "M"))),
        address=f"{int(rng.integers(1, 240))} {rng.choice(STREETS)}, Corvina Bay",
        phone=f"+00-555-{int(rng.integers(0, 10_000)):04d}",
        relative=f"{family}^{rng.choice(('Juniper', 'Lysander', 'Marigold'))}",
        referring=str(rng.choice(PHYSICIANS)),
        performing=str(rng.choice(PHYSICIANS)),
        ct_date=ct_date,
        mr_date=ct_date + dt.timedelta(days=int(rng.integers(-9, 24))),
        accession=(f"CT{int(rng.integers(10**6, 10**7))}", f"MR{int(rng.integers(10**6, 10**7))}"),
    )
