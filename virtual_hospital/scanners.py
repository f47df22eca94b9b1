"""The scanners of the hospital: the attributes that they write into each header, and their pixel formats."""

from dataclasses import dataclass

from virtual_hospital.elements import HeaderValue


@dataclass(frozen=True)
class Scanner:
    """A scanner: attributes that all its images have (keyword: value), its private block, and its pixel format."""

    modality: str
    attributes: dict[str, HeaderValue]
    private_creator: str
    private_group: int
    slope: float = 1.0
    intercept: float = 0.0
    padding: int | None = None  # stored value outside the reconstruction circle
    signed: bool = False

    @property
    def vendor(self) -> str:
        """Short name of the vendor: siemens, philips or ge."""
        return str(self.attributes["Manufacturer"]).split()[0].lower()


SIEMENS_CT = Scanner(
    "CT",
    {
        "Manufacturer": "SIEMENS",
        "ManufacturerModelName": "SOMATOM Definition Flash",
        "SoftwareVersions": "syngo CT 2012B",
        "ConvolutionKernel": ["J30s", "3"],
        "KVP": "120",
        "XRayTubeCurrent": "265",
        "ExposureTime": "1000",
        "RotationDirection": "CW",
        "FilterType": "FLAT",
    },
    "SIEMENS CSA HEADER",
    0x0029,
    intercept=-1024.0,
)
GE_CT = Scanner(
    "CT",
    {
        "Manufacturer": "GE MEDICAL SYSTEMS",
        "ManufacturerModelName": "LightSpeed VCT",
        "SoftwareVersions": "07MW18.4",
        "ConvolutionKernel": "STANDARD",
        "KVP": "120",
        "XRayTubeCurrent": "180",
        "ExposureTime": "2000",
        "RotationDirection": "CW",
        "FilterType": "HEAD FILTER",
    },
    "GEMS_IDEN_01",
    0x0009,
    intercept=-1024.0,
    padding=-2000,
    signed=True,
)
PHILIPS_MR = Scanner(
    "MR",
    {
        "Manufacturer": "Philips Medical Systems",
        "ManufacturerModelName": "Ingenia",
        "SoftwareVersions": ["5.1.7", "5.1.7.2"],
        "MagneticFieldStrength": "3",
        "ReceiveCoilName": "MULTI COIL",
        "ImagingFrequency": "127.77",
        "InPlanePhaseEncodingDirection": "ROW",
    },
    "Philips MR Imaging DD 001",
    0x2005,
    slope=0.75,
)
GE_MR = Scanner(
    "MR",
    {
        "Manufacturer": "GE MEDICAL SYSTEMS",
        "ManufacturerModelName": "DISCOVERY MR750",
        "SoftwareVersions": ["24", "LX", "MR Software release:DV24.0"],
        "MagneticFieldStrength": "3",
        "ReceiveCoilName": "HNS Head",
        "ImagingFrequency": "127.72",
        "InPlanePhaseEncodingDirection": "ROW",
    },
    "GEMS_PARM_01",
    0x0043,
)
SIEMENS_MR = Scanner(
    "MR",
    {
        "Manufacturer": "SIEMENS",
        "ManufacturerModelName": "Skyra",
        "SoftwareVersions": "syngo MR E11",
        "MagneticFieldStrength": "3",
        "TransmitCoilName": "Body",
        "ImagingFrequency": "123.25",
        "InPlanePhaseEncodingDirection": "ROW",
    },
    "SIEMENS MR HEADER",
    0x0051,
)
SIEMENS_PET = Scanner(
    "PT",
    {"Manufacturer": "SIEMENS", "ManufacturerModelName": "Biograph mMR", "SoftwareVersions": "syngo MR E11"},
    "SIEMENS MED PT",
    0x0071,
)


def ct_scanner(n: int) -> Scanner:
    """Return the CT scanner of patient n: for three patients in four it is the Siemens."""
    return GE_CT if n % 4 == 3 else SIEMENS_CT


def mr_scanner(n: int) -> Scanner:
    """Return the MR scanner of patient n: GE for one in five, Siemens for one in ten, Philips for the others."""
    if n % 5 == 4:
        return GE_MR
    return SIEMENS_MR if n % 10 == 6 else PHILIPS_MR
