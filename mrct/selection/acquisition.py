"""The kind of image that an acquisition makes, derived from its times, its attributes and its names.

Every function reads header values that survive de-identification, and returns "unknown" or "" where the header does
not say. The weighting is always derived from times. A name can only reject a series; it never makes one wanted. The
words of each kind are in series_words.txt.
"""

import re
from functools import cache, lru_cache
from pathlib import Path

from mrct.dicom.series import Instance

# Inversion times in ms. Fat is nulled at 150 to 250, CSF from 1650 (3D, short TR) to 2900. T1-weighted inversion
# recovery (MPRAGE, T1 FLAIR) lies between them, below 1300. The principle is explained in Bernstein, Handbook of MRI
# Pulse Sequences, section 14.2; the ranges are those of vendors' head protocols.
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

_TABLE = Path(__file__).with_name("series_words.txt")
_READOUTS = {"tse", "flair"}
_PARTS = {"body_part": "not the head", "part_of_head": "only a part of the head"}
# "T2TSE" and "tse2d1": a word also begins after a digit, and ends before 2D or 3D
_JOINED = re.compile(r"(?<=[A-Z])(?=[23]D)|(?<=[23]D)(?=[A-Z])")
_PLUS = re.compile(r"(?<![A-Z])C ?\+|\+ ?C(?![A-Z])")


def weighting(instance: Instance) -> str:
    """Return t1, t2, pd, flair, stir, t2star, dwi or unknown; "" for a CT.

    It is unknown without EchoTime or RepetitionTime, for inversion recovery without InversionTime, and for echo planar
    imaging whose header does not say whether it is a spin echo or a gradient echo.
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
    if _is_gradient_echo(instance):
        return _gradient_weighting(instance, te)
    undecided = "IR" in instance.scanning_sequence or instance.scanning_sequence == ("EP",)
    return "unknown" if undecided else _spin_weighting(te, tr)


def _is_gradient_echo(instance: Instance) -> bool:
    return "GR" in instance.scanning_sequence and "SE" not in instance.scanning_sequence


def _inverted_weighting(te: float, ti: float) -> str:
    if STIR_TI_MS[0] <= ti <= STIR_TI_MS[1]:
        return "stir"
    if ti >= FLAIR_TI_MS:
        return "flair" if te >= SHORT_TE_MS else "unknown"
    return "t1" if te < SHORT_TE_MS else "unknown"


def _gradient_weighting(instance: Instance, te: float) -> str:
    variant = instance.sequence_variant
    if "SS" in variant and not {"SP", "MP"} & set(variant):
        return "unknown"  # balanced steady state: weighted by T2/T1 at any TE and TR
    return "t1" if te < GRADIENT_T1_TE_MS else "t2star"


def _spin_weighting(te: float, tr: float) -> str:
    if tr >= LONG_TR_MS:
        return "t2" if te >= LONG_TE_MS else "pd"
    return "t1" if te < SHORT_TE_MS else "unknown"


def diffusion(instance: Instance) -> str:
    """Return the evidence of diffusion imaging (b = 0 included) as text for the reason, or ""."""
    if instance.modality != "MR":
        return ""
    if instance.diffusion_b_value is not None:
        return f"a b-value of {instance.diffusion_b_value:g} s/mm²"
    if {"DIFFUSION", "ADC", "TRACEW"} & set(instance.image_type):
        return "its image type"
    return named(instance, "dwi")


def echo_planar(instance: Instance) -> str:
    """Return the evidence of an echo planar readout as text for the reason, or ""."""
    if instance.modality != "MR":
        return ""
    return "the scanning sequence EP" if "EP" in instance.scanning_sequence else named(instance, "epi")


def fluid_attenuated(instance: Instance) -> str:
    """Return why the instance is a FLAIR, as text for the reason, or ""."""
    if weighting(instance) == "flair":
        return f"FLAIR: inversion time {instance.ti_ms:.0f} ms suppresses CSF"
    if "FLUID ATTENUATED" in instance.image_type:
        return "FLAIR by its acquisition contrast"
    found = "" if instance.modality != "MR" or instance.ti_ms else named(instance, "flair")
    return f"FLAIR: {found}; the header holds no inversion time" if found else ""


def without_fat(instance: Instance) -> str:
    """Return why the instance shows no fat, as text for the reason, or ""."""
    if weighting(instance) == "stir":
        return f"STIR: inversion time {instance.ti_ms:.0f} ms suppresses fat"
    if "FS" in instance.scan_options:  # fat saturation, PS3.3 C.8.3.1.1
        return "fat suppressed by its scan options"
    found = named(instance, "fat_suppressed")
    return f"fat suppressed: {found}" if found else ""


def turbo_spin_echo(instance: Instance) -> str:
    """Return the evidence of a turbo or fast spin echo as text for the reason, or "".

    EchoTrainLength above 1 counts only for spin echoes: Philips writes the turbo factor of T1 gradient echoes (TFE)
    there. GE sets FAST_GEMS for fast gradient echoes as well.
    """
    if _is_gradient_echo(instance):
        return ""
    if instance.echo_train_length is not None and instance.echo_train_length > 1:
        return f"an echo train of {instance.echo_train_length}"
    if "SE" in instance.scanning_sequence and "FAST_GEMS" in instance.scan_options:
        return "the scan option FAST_GEMS with spin echo"
    return named(instance, "tse")


def contrast_agent(instance: Instance) -> str:
    """Return the evidence of a contrast agent as text for the reason, or ""."""
    return "the header names a contrast agent" if instance.contrast_agent else named_contrast(instance)


def kernel_class(instance: Instance) -> str:
    """Return soft, sharp or unknown for the reconstruction kernel of a CT, by the vendors' names of kernels.

    Siemens writes letters and a number (H31s, Hr40, B70f; 50 and more is sharp), Canon FC and a number (FC3x bone,
    FC5x lung, FC8x bone), Philips letters (A, B soft; C to E, L sharp), GE words.
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


def named(instance: Instance, kind: str) -> str:
    """Return which word of a name states `kind`, for the reason ("the word TSE in the protocol name"), or "".

    GE and all CT scanners write the name of the examination as the protocol name of each of its series: the plain CT
    before an angiography has the protocol name CTA. Such a name is used only for kinds of readout.

    Args:
        instance: An image.
        kind: A section of series_words.txt.
    """
    whole_examination = instance.modality == "CT" or instance.vendor == "GE"
    if kind in _READOUTS or not whole_examination:
        return _found(kind, instance, ("sequence name", "protocol name", "series description"))
    return _found(kind, instance, ("sequence name", "series description"))


def named_contrast(instance: Instance) -> str:
    """Return which word of the series description names a contrast agent, or ""; "without contrast" names none."""
    return _found("contrast", instance, ("series description",))


def named_device(instance: Instance, kind: str) -> str:
    """Return which word in the names of the device and of the series states `kind`, or ""."""
    return _found(kind, instance, ("device model",)) or named(instance, kind)


def other_body_part(instance: Instance) -> str:
    """Return why the image does not show the whole head, or "".

    The first attribute that names a body part decides. The series description is the most specific. The protocol may be
    that of the whole examination, and BodyPartExamined is often that of the protocol. If an attribute names the head
    and another part, the head is in the image.
    """
    for place in ("series description", "protocol name", "body part tag"):
        if _found("head", instance, (place,)):
            return ""
        for kind, what in _PARTS.items():
            if found := _found(kind, instance, (place,)):
                return f"{what}: {found}"
    return ""


def _found(kind: str, instance: Instance, places: tuple[str, ...]) -> str:
    texts = {
        "sequence name": instance.sequence_name,
        "protocol name": instance.protocol,
        "series description": instance.description,
        "body part tag": instance.body_part,
        "device model": instance.model,
    }
    for place in places:
        word = word_of(kind, texts[place])
        if word:
            return f"the word {word} in the {place}"
    return ""


@lru_cache(maxsize=4096)
def word_of(kind: str, text: str) -> str:
    """Return the first word of the kind in the text, as series_words.txt spells it, or ""."""
    plain = _plain(text)
    exceptions = _patterns().get(f"{kind}, but not")
    found = _patterns()[kind].search(exceptions.sub(" ", plain) if exceptions else plain)
    return found.group() if found else ""


def _plain(text: str) -> str:
    """Return the text in upper case, with CONTRAST for "C+" and blanks for underscores and punctuation."""
    words = re.sub(r"[\W_]", " ", _PLUS.sub(" CONTRAST ", text.upper()))
    return _JOINED.sub(" ", " ".join(words.split()))


@cache
def _patterns() -> dict[str, re.Pattern[str]]:
    """Compile one pattern per section of the table."""
    entries: dict[str, list[str]] = {}
    for line in _TABLE.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            current = entries.setdefault(line.strip("[] "), [])
        elif line and not line.startswith("#"):
            current += [_regex(entry.strip()) for entry in line.split(",") if entry.strip()]
    return {section: re.compile(rf"(?<![A-Z])(?:{'|'.join(words)})") for section, words in entries.items()}


def _regex(entry: str) -> str:
    """Return the pattern of an entry; a final * keeps the rest of the word out of the match, and so out of reasons."""
    pattern = entry.rstrip("*").replace("(", "(?:").replace("*", r"\w*").replace(" ", " ?")
    return pattern if entry.endswith("*") else rf"{pattern}(?![A-Z])"
