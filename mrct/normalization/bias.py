"""MR bias field: the smooth shading of the coil, estimated inside the head and divided out."""

import numpy as np
import SimpleITK as sitk

from mrct.imaging.masks import MaskError, head_mask_of_mr
from mrct.imaging.volumes import like, spacing_kji_mm, to_array

# the field is smooth: estimated on every n-th pixel of a slice, applied to all
WORK_SPACING_MM = 4.0
ITERATIONS = (50, 50, 30)
# cubic B-splines need as many slices, else slice by slice
MIN_DEPTH = 4


def without_bias(mr: sitk.Image) -> sitk.Image:
    """The MR (3D, any unit) divided by its bias field; same grid, same mean in the head, never negative.

    N4, Tustison et al. 2010 (IEEE TMI 29:1310), SimpleITK's, on a coarser grid in the plane. The head comes
    from the MR alone, so that inference repeats it. Where no head is found the volume stays as it is.
    """
    try:
        head = head_mask_of_mr(to_array(mr), spacing_kji_mm(mr))
    except MaskError:
        return mr
    if mr.GetSize()[2] >= MIN_DEPTH:
        return _scaled(mr, head, _log_field(mr, like(head, mr)))
    slices = [_flat(mr, k, head) for k in range(mr.GetSize()[2])]
    field = sitk.GetImageFromArray(np.stack([sitk.GetArrayFromImage(one) for one in slices]))
    field.CopyInformation(mr)
    return _scaled(mr, head, field)


def _flat(mr: sitk.Image, k: int, head: np.ndarray) -> sitk.Image:
    """The log field (2D) of one slice; zero where it shows no head."""
    plane = sitk.Extract(mr, (*mr.GetSize()[:2], 0), (0, 0, k))
    if not head[k].any():
        return sitk.Image(plane.GetSize(), sitk.sitkFloat32)
    return _log_field(plane, like(head[k], plane))


def _log_field(mr: sitk.Image, head: sitk.Image) -> sitk.Image:
    """Log of the bias field on the grid of `mr` (2D or 3D)."""
    steps = [max(1, round(WORK_SPACING_MM / spacing)) for spacing in mr.GetSpacing()]
    steps = [min(step, size // MIN_DEPTH or 1) for step, size in zip(steps, mr.GetSize(), strict=True)]
    steps[2:] = [1] * len(steps[2:])  # slices are thick already
    lifted = sitk.Cast(mr, sitk.sitkFloat32)
    lifted = sitk.ShiftScale(lifted, shift=1.0 - float(np.min(to_array(mr))))  # N4 takes logarithms
    correct = sitk.N4BiasFieldCorrectionImageFilter()
    correct.SetMaximumNumberOfIterations(ITERATIONS)
    correct.SetNumberOfThreads(1)  # the same bytes on every machine
    correct.Execute(sitk.Shrink(lifted, steps), sitk.Shrink(head, steps))
    return correct.GetLogBiasFieldAsImage(lifted)


def _scaled(mr: sitk.Image, head: np.ndarray, log_field: sitk.Image) -> sitk.Image:
    array = to_array(mr).astype(np.float64)
    low = float(array.min())
    field = np.exp(to_array(log_field).astype(np.float64))
    corrected = low + (array - low) / field
    gain = (array[head] - low).mean() / max((corrected[head] - low).mean(), np.finfo(float).tiny)
    return like((low + (corrected - low) * gain).astype(np.float32), mr)
