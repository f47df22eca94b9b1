"""How a series was acquired and reconstructed, where that speaks against it: each function gives the reason, or "".

MR: its contrast and readout.  CT: its tube, dose and kernel.
"""

from mrct.dicom.series import Series
from mrct.selection.naming import named, named_device
from mrct.selection.weighting import contrast_agent, kernel_class, turbo_spin_echo, weighting

# the range of head protocols of adults; the lower the voltage, the higher the HU of bone
_TUBE_KV = (100.0, 140.0)


def flair(series: Series) -> str:
    first = series.first
    if weighting(first) == "flair":
        return f"FLAIR: inversion time {first.ti_ms:.0f} ms suppresses CSF"
    if "FLUID ATTENUATED" in first.image_type:
        return "FLAIR by its acquisition contrast"
    found = "" if first.modality != "MR" or first.ti_ms else named(first, "flair")
    return f"FLAIR: {found}; the header holds no inversion time" if found else ""


def fat_suppressed(series: Series) -> str:
    first = series.first
    if series.modality != "MR":
        return ""
    if weighting(first) == "stir":
        return f"STIR: inversion time {first.ti_ms:.0f} ms suppresses fat"
    if "FS" in first.scan_options:  # fat saturation, PS3.3 C.8.3.1.1
        return "fat suppressed by its scan options"
    found = named(first, "fat_suppressed")
    return f"fat suppressed: {found}" if found else ""


def contrast(series: Series) -> str:
    found = contrast_agent(series.first)
    return f"contrast-enhanced: {found}" if found else ""


def tse(series: Series) -> str:
    found = turbo_spin_echo(series.first) if series.modality == "MR" else ""
    return f"turbo or fast spin echo: {found}" if found else ""


def sharp_kernel(series: Series) -> str:
    kind = kernel_class(series.first) if series.modality == "CT" else ""
    if kind == "sharp":
        return "reconstructed with a sharp kernel, as for bone or lung"
    found = named(series.first, "bone_kernel") if kind == "unknown" else ""
    return f"reconstructed for bone: {found}; the header tells no kernel" if found else ""


def cone_beam(series: Series) -> str:
    found = named_device(series.first, "cone_beam") if series.modality == "CT" else ""
    return f"cone-beam CT, whose numbers are no HU: {found}" if found else ""


def low_dose(series: Series) -> str:
    found = named(series.first, "low_dose") if series.modality == "CT" else ""
    return f"low-dose CT, as for attenuation correction: {found}" if found else ""


def tube_voltage(series: Series) -> str:
    kv = series.first.tube_kv
    if series.modality != "CT" or not kv or _TUBE_KV[0] <= kv <= _TUBE_KV[1]:
        return ""
    return f"taken at {kv:g} kV: bone has other HU than at 120 kV"
