"""What kind of image an acquisition makes, from its timing and vocabulary: weighting, TSE, contrast, kernel.

Every function is pure, reads header values that survive de-identification, and answers "unknown" where the
header does not say: a class is measured, never assumed.
"""

import re

from mrct.dicom.series import Instance
from mrct.selection.naming import named, named_contrast

# Inversion times in ms. Fat is nulled at 150 to 250, CSF from 1650 (3D, short TR) to 2900; T1-weighted
# inversion recovery (MPRAGE, T1 FLAIR) lies between, below 1300 (Bernstein, Handbook of MRI Pulse
# Sequences, section 14.2, for the principle; vendors' head protocols for the ranges)
STIR_TI_MS = (80.0, 300.0)
FLAIR_TI_MS = 1500.0
# spin echo: T1 has short TR and TE, PD long TR and short TE, T2 long TR and TE
LONG_TR_MS = 1600.0
LONG_TE_MS = 60.0
SHORT_TE_MS = 40.0
# gradient echo: T1 below, T2* above
GRADIENT_T1_TE_MS = 10.0

_SHARP_WORDS = ("BONE", "LUNG", "EDGE", "SHARP", "ULTRA", "INNER EAR", "OSTEO")
_SOFT_WORDS = ("SOFT", "STANDARD", "STD", "BRAIN", "HEAD", "SMOOTH", "DETAIL", "TISSUE")
_SHARP_LETTERS = {"C", "D", "E", "L", "YC", "YD", "YE", "YL", "EC", "ED"}
_SOFT_LETTERS = {"A", "B", "UA", "UB", "UC", "YA", "YB", "EA", "EB"}


def weighting(instance: Instance) -> str:
    """t1, t2, pd, flair, stir, t2star, dwi or unknown; empty for CT.

    Unknown without EchoTime or RepetitionTime, for inversion recovery without a time, and for echo planar
    imaging that does not tell spin from gradient echoes.
    """
    if instance.modality != "MR":
        return ""
    if diffusion(instance):
        return "dwi"
    te, tr = instance.te_ms, instance.tr_ms
    if not te or not tr or te <= 0 or tr <= 0:
        return "unknown"
    if instance.ti_ms and instance.ti_ms > 0:
        return _inverted_weighting(te, instance.ti_ms)
    if "GR" in instance.scanning_sequence and "SE" not in instance.scanning_sequence:
        return _gradient_weighting(instance, te)
    untold = "IR" in instance.scanning_sequence or instance.scanning_sequence == ("EP",)
    return "unknown" if untold else _spin_weighting(te, tr)


def _inverted_weighting(te: float, ti: float) -> str:
    if STIR_TI_MS[0] <= ti <= STIR_TI_MS[1]:
        return "stir"
    if ti >= FLAIR_TI_MS:
        return "flair" if te >= SHORT_TE_MS else "unknown"
    return "t1" if te < SHORT_TE_MS else "unknown"


def _gradient_weighting(instance: Instance, te: float) -> str:
    variant = instance.sequence_variant
    if "SS" in variant and not {"SP", "MP"} & set(variant):
        return "unknown"  # balanced steady state: weighted by T2/T1, whatever its times
    return "t1" if te < GRADIENT_T1_TE_MS else "t2star"


def _spin_weighting(te: float, tr: float) -> str:
    if tr >= LONG_TR_MS:
        return "t2" if te >= LONG_TE_MS else "pd"
    return "t1" if te < SHORT_TE_MS else "unknown"


def diffusion(instance: Instance) -> str:
    """What shows diffusion imaging, b = 0 included (for the reason), or empty."""
    if instance.modality != "MR":
        return ""
    if instance.diffusion_b_value is not None:
        return f"a b-value of {instance.diffusion_b_value:g} s/mm²"
    if {"DIFFUSION", "ADC", "TRACEW"} & set(instance.image_type):
        return "its image type"
    return named(instance, "dwi")


def echo_planar(instance: Instance) -> str:
    """What shows an echo planar readout (for the reason), or empty."""
    if instance.modality != "MR":
        return ""
    return "the scanning sequence EP" if "EP" in instance.scanning_sequence else named(instance, "epi")


def turbo_spin_echo(instance: Instance) -> str:
    """What shows a turbo or fast spin echo (for the reason), or empty.

    EchoTrainLength above 1 counts only for spin echoes: Philips writes the turbo factor of T1 gradient
    echoes (TFE) there, and GE sets FAST_GEMS for fast gradient echoes as well.
    """
    gradient = "GR" in instance.scanning_sequence and "SE" not in instance.scanning_sequence
    if gradient:
        return ""
    if instance.echo_train_length is not None and instance.echo_train_length > 1:
        return f"an echo train of {instance.echo_train_length}"
    if "SE" in instance.scanning_sequence and "FAST_GEMS" in instance.scan_options:
        return "the scan option FAST_GEMS with spin echo"
    return named(instance, "tse")


def contrast_agent(instance: Instance) -> str:
    """What shows a contrast agent (for the reason), or empty."""
    return "the header names a contrast agent" if instance.contrast_agent else named_contrast(instance)


def kernel_class(instance: Instance) -> str:
    """soft, sharp or unknown reconstruction of a CT, by the vendors' names of kernels.

    Siemens writes letters and a number (H31s, Hr40, B70f; 50 and more is sharp), Canon FC and a number
    (FC3x bone, FC5x lung, FC8x bone), Philips letters (A, B soft; C to E, L sharp), GE words.
    """
    kernel = instance.kernel.split("\\")[0].strip("[]' ").split(",")[0].strip("' ")
    if not kernel:
        return "unknown"
    if any(word in kernel for word in _SHARP_WORDS):
        return "sharp"
    if any(word in kernel for word in _SOFT_WORDS):
        return "soft"
    canon = re.match(r"FC(\d{2})", kernel)
    if canon:
        return "sharp" if canon.group(1)[0] in "358" else "soft"
    siemens = re.match(r"[A-Z]{1,2}(\d{2})", kernel)
    if siemens:
        return "sharp" if int(siemens.group(1)) >= 50 else "soft"
    return "sharp" if kernel in _SHARP_LETTERS else "soft" if kernel in _SOFT_LETTERS else "unknown"
