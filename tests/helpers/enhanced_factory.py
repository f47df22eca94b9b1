"""Enhanced multi-frame CT and MR (PS3.3 A.36, A.38) of an invented person, with PHI in groups and private items."""

import numpy as np
from pydicom import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedCTImageStorage, EnhancedMRImageStorage, ExplicitVRLittleEndian

from helpers import phi_factory

NAME, ROOT = phi_factory.NAME, "1.2.3.774411"
FRAMES, SIZE = 4, 16


def items(*contents: dict) -> Sequence:
    """Make a sequence of datasets with these attributes."""
    return Sequence(dataset(**content) for content in contents)


def dataset(**values) -> Dataset:
    result = Dataset()
    for keyword, value in values.items():
        setattr(result, keyword, value)
    return result


def code(value: str, scheme: str, meaning: str) -> Sequence:
    return items({"CodeValue": value, "CodingSchemeDesignator": scheme, "CodeMeaning": meaning})


def enhanced_dataset(modality: str, **changes) -> Dataset:
    """Make four frames in reversed order, each with its own position, and its own echo time (MR) or rescale (CT)."""
    image = phi_factory.person_dataset(modality)
    for keyword in CLASSIC_ONLY:
        if keyword in image:
            del image[keyword]
    image.SOPClassUID = EnhancedCTImageStorage if modality == "CT" else EnhancedMRImageStorage
    image.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME" if modality == "CT" else "T2", "NONE"]
    image.ContentTime, image.StudyTime = "233000", "081503"
    image.AcquisitionDateTime = f"{image.StudyDate}081503"
    image.AcquisitionNumber = image.InstanceNumber = 1
    image.ManufacturerModelName, image.SoftwareVersions = "Avanto of Dr Hollyoak", ["VB17", "Wolkenstein 3"]
    image.PixelPresentation, image.VolumetricProperties = "MONOCHROME", "VOLUME"
    image.VolumeBasedCalculationTechnique, image.ContentQualification = "NONE", "PRODUCT"
    image.BurnedInAnnotation, image.LossyImageCompression, image.PresentationLUTShape = "NO", "00", "IDENTITY"
    image.PositionReferenceIndicator = None
    image.AcquisitionContextSequence = items({"ValueType": "TEXT", "TextValue": f"seen by {NAME}"})
    image.NumberOfFrames = FRAMES
    pixels = np.arange(FRAMES * SIZE * SIZE, dtype="<u2") % 4000
    image.BitsStored, image.HighBit, image.PixelData = 12, 11, pixels.tobytes()
    _dimensions(image)
    image.SharedFunctionalGroupsSequence = Sequence([(_shared_ct if modality == "CT" else _shared_mr)()])
    image.PerFrameFunctionalGroupsSequence = Sequence(
        _frame(modality, index, image.StudyDate) for index in range(FRAMES)
    )
    (_ct if modality == "CT" else _mr)(image)
    for keyword, value in changes.items():
        setattr(image, keyword, value)
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return image


CLASSIC_ONLY = tuple(
    """PixelSpacing SliceThickness ImageOrientationPatient ImagePositionPatient RescaleSlope RescaleIntercept
    ConvolutionKernel KVP EchoTime RepetitionTime EchoTrainLength ScanningSequence SequenceVariant SequenceName
    AcquisitionDate AcquisitionTime SourceImageSequence""".split()  # noqa: SIM905  # a table is easier to read
)


def _dimensions(image: Dataset) -> None:
    uid = f"{ROOT}.12.19571103"
    image.DimensionOrganizationSequence = items({"DimensionOrganizationUID": uid})
    image.DimensionIndexSequence = items(
        *(
            {
                "DimensionOrganizationUID": uid,
                "DimensionIndexPointer": pointer,
                "FunctionalGroupPointer": 0x00209111,
                "DimensionDescriptionLabel": f"Stack of {NAME}",
            }
            for pointer in (0x00209056, 0x00209057)
        )
    )


def _anatomy() -> Sequence:
    region = code("12738006", "SCT", f"Brain of {NAME}")
    region[0].CodingSchemeVersion = "Quenneville"
    return items({"FrameLaterality": "U", "AnatomicRegionSequence": region})


def _shared() -> Dataset:
    group = dataset(
        PixelMeasuresSequence=items({"PixelSpacing": ["0.5", "0.5"], "SliceThickness": "2.5"}),
        PlaneOrientationSequence=items({"ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"]}),
        FrameAnatomySequence=_anatomy(),
        FrameVOILUTSequence=items(
            {"WindowCenter": "40", "WindowWidth": "400", "WindowCenterWidthExplanation": "for Dr Hollyoak"}
        ),
    )
    block = group.private_block(0x2005, "Philips MR Imaging DD 005", create=True)
    block.add_new(0x0E, "SQ", items({"PatientName": NAME, "PatientID": "MRN-774411"}))
    return group


def _frame(modality: str, index: int, day: str) -> Dataset:
    position = FRAMES - index  # the first frame is the highest
    moment = f"{day}08150{index}"
    group = dataset(
        FrameContentSequence=items(
            {
                "StackID": "1",
                "InStackPositionNumber": position,
                "DimensionIndexValues": [1, position],
                "FrameAcquisitionNumber": 1,
                "FrameReferenceDateTime": moment,
                "FrameAcquisitionDateTime": moment,
                "FrameAcquisitionDuration": 12.5,
                "FrameComments": f"frame of {NAME}",
            }
        ),
        PlanePositionSequence=items({"ImagePositionPatient": ["-4", "-4", str(2.5 * position)]}),
        PixelValueTransformationSequence=items(
            {
                "RescaleIntercept": "-1024" if modality == "CT" else "0",
                "RescaleSlope": str(1 + index),
                "RescaleType": "HU" if modality == "CT" else "US",
            }
        ),
    )
    if modality == "MR":
        group.MREchoSequence = items({"EffectiveEchoTime": 20.0 * (index + 1)})
    block = group.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
    block.add_new(0x10, "LO", f"{NAME} {index}")
    return group


def _shared_mr() -> Dataset:
    frame_type = {
        "FrameType": ["ORIGINAL", "PRIMARY", "T2", "NONE"],
        "PixelPresentation": "MONOCHROME",
        "VolumetricProperties": "VOLUME",
        "VolumeBasedCalculationTechnique": "NONE",
        "ComplexImageComponent": "MAGNITUDE",
        "AcquisitionContrast": "T2",
    }
    group = _shared()
    group.MRImageFrameTypeSequence = items(frame_type)
    group.MRTimingAndRelatedParametersSequence = items(
        {
            "RepetitionTime": "4500",
            "FlipAngle": "90",
            "EchoTrainLength": "16",
            "RFEchoTrainLength": 16,
            "GradientEchoTrainLength": 0,
            "SpecificAbsorptionRateSequence": items(
                {"SpecificAbsorptionRateDefinition": "IEC_HEAD", "SpecificAbsorptionRateValue": 0.4}
            ),
            "GradientOutputType": "DB_DT",
            "GradientOutput": 12.0,
            "OperatingModeSequence": items(
                {"OperatingModeType": "STATIC FIELD", "OperatingMode": "IEC_NORMAL"}
            ),
        }
    )
    group.MRFOVGeometrySequence = items(
        {
            "InPlanePhaseEncodingDirection": "COLUMN",
            "MRAcquisitionFrequencyEncodingSteps": SIZE,
            "MRAcquisitionPhaseEncodingStepsInPlane": SIZE,
            "PercentSampling": "100",
            "PercentPhaseFieldOfView": "100",
        }
    )
    group.MRModifierSequence = items(
        {
            "InversionRecovery": "NO",
            "FlowCompensation": "NONE",
            "Spoiling": "NONE",
            "T2Preparation": "NO",
            "SpectrallySelectedExcitation": "NONE",
            "SpatialPresaturation": "NONE",
            "PartialFourier": "NO",
            "ParallelAcquisition": "NO",
        }
    )
    group.MRImagingModifierSequence = items(
        {
            "MagnetizationTransfer": "NONE",
            "BloodSignalNulling": "NO",
            "Tagging": "NONE",
            "TransmitterFrequency": 63.8,
            "PixelBandwidth": "100",
        }
    )
    group.MRReceiveCoilSequence = items(
        {
            "ReceiveCoilName": "Head of Zebulon",
            "ReceiveCoilManufacturerName": "Wolkenstein",
            "ReceiveCoilType": "HEAD",
            "QuadratureReceiveCoil": "YES",
        }
    )
    group.MRTransmitCoilSequence = items(
        {"TransmitCoilName": "Body", "TransmitCoilManufacturerName": None, "TransmitCoilType": "BODY"}
    )
    group.MRAveragesSequence = items({"NumberOfAverages": "1"})
    return group


def _mr(image: Dataset) -> None:
    frame_type = image.SharedFunctionalGroupsSequence[0].MRImageFrameTypeSequence[0]
    image.ComplexImageComponent = frame_type.ComplexImageComponent
    image.AcquisitionContrast = frame_type.AcquisitionContrast
    image.PulseSequenceName, image.MRAcquisitionType = "tse2d1_16 Zebulon", "2D"
    image.EchoPulseSequence, image.MultipleSpinEcho, image.MultiPlanarExcitation = "SPIN", "YES", "NO"
    image.PhaseContrast, image.TimeOfFlightContrast = "NO", "NO"
    image.SteadyStatePulseSequence, image.EchoPlanarPulseSequence = "NONE", "NO"
    image.SaturationRecovery, image.SpectrallySelectedSuppression = "NO", "NONE"
    image.OversamplingPhase, image.RectilinearPhaseEncodeReordering = "NONE", "LINEAR"
    image.GeometryOfKSpaceTraversal, image.SegmentedKSpaceTraversal = "RECTILINEAR", "SINGLE"
    image.NumberOfKSpaceTrajectories = 1
    image.ResonantNucleus, image.MagneticFieldStrength, image.KSpaceFiltering = "1H", "1.5", "NONE"
    image.AcquisitionDuration, image.ApplicableSafetyStandardAgency = 120.0, "IEC"


def _shared_ct() -> Dataset:
    group = _shared()
    group.CTImageFrameTypeSequence = items(
        {
            "FrameType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
            "PixelPresentation": "MONOCHROME",
            "VolumetricProperties": "VOLUME",
            "VolumeBasedCalculationTechnique": "NONE",
        }
    )
    group.CTAcquisitionTypeSequence = items(
        {
            "AcquisitionType": "SEQUENCED",
            "TubeAngle": 0.0,
            "ConstantVolumeFlag": "NO",
            "FluoroscopyFlag": "NO",
        }
    )
    group.CTAcquisitionDetailsSequence = items(
        {
            "RotationDirection": "CW",
            "RevolutionTime": 0.5,
            "SingleCollimationWidth": 0.6,
            "TotalCollimationWidth": 19.2,
            "TableHeight": "150",
            "GantryDetectorTilt": "0",
            "DataCollectionDiameter": "500",
        }
    )
    group.CTTableDynamicsSequence = items({"TableSpeed": 10.0, "TableFeedPerRotation": 5.0})
    group.CTPositionSequence = items(
        {
            "TablePosition": 10.0,
            "DataCollectionCenterPatient": [0.0, 0.0, 0.0],
            "ReconstructionTargetCenterPatient": [0.0, 0.0, 0.0],
        }
    )
    group.CTGeometrySequence = items(
        {"DistanceSourceToDetector": "1000", "DistanceSourceToDataCollectionCenter": 570.0}
    )
    group.CTReconstructionSequence = items(
        {
            "ReconstructionAlgorithm": "FILTER_BACK_PROJ",
            "ConvolutionKernel": "H31s",
            "ConvolutionKernelGroup": "BRAIN",
            "ReconstructionDiameter": "250",
            "ReconstructionPixelSpacing": [0.5, 0.5],
            "ReconstructionAngle": 360.0,
            "ImageFilter": "NONE",
        }
    )
    group.CTExposureSequence = items(
        {
            "ExposureTimeInms": 500.0,
            "XRayTubeCurrentInmA": 200.0,
            "ExposureInmAs": 100.0,
            "ExposureModulationType": "NONE",
            "CTDIvol": 40.0,
        }
    )
    group.CTXRayDetailsSequence = items(
        {
            "KVP": "120",
            "FocalSpots": "1.2",
            "FilterType": "FLAT",
            "FilterMaterial": "MIXED",
            "CalciumScoringMassFactorPatient": 1.0,
            "CalciumScoringMassFactorDevice": [1.0, 1.0, 1.0],
        }
    )
    group.IrradiationEventIdentificationSequence = items({"IrradiationEventUID": f"{ROOT}.13"})
    return group


def _ct(image: Dataset) -> None:
    image.MultienergyCTAcquisition = "NO"
