"""What the networks of one run are worth: errors on validation patients, and whether a score finds a warp."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mrct.experiments.auroc import auroc
from mrct.experiments.misaligned import Misaligned, training_patients
from mrct.imaging.intensity import signed_to_hu
from mrct.losses.pixel import pixel_weights
from mrct.methods.sc_cyclegan import ScCycleGan
from mrct.metrics.hu import bone_iou
from mrct.metrics.image import mean_absolute_error
from mrct.networks.whole_volume import BATCH_SIZE, translate_slices
from mrct.training.dataset import NormalizedData, Patient

#: A pixel of the target counts as displaced above the one, as changed by the warp above the other.
DISPLACED_MM, CHANGED_HU = 1.0, 100.0
BONE_HU = (300.0,)
#: What one may take for a sign of a misaligned target, the higher the more: (n, H, W) over the paired slices.
Scores = dict[str, np.ndarray]
Row = dict[str, Any]


@dataclass(frozen=True)
class Judge:
    """Networks on their device, and the HU of -1 and of 1."""

    method: ScCycleGan
    device: torch.device
    hu_window: tuple[float, float]

    def __post_init__(self) -> None:
        self.method.eval()

    def synthetic_ct(self, patient: Patient) -> np.ndarray:
        """(n, H, W) in [-1, 1] of the paired slices."""
        with torch.inference_mode():
            return translate_slices(self.method.mr_to_ct, patient.mr[patient.valid], self.device)

    def hu_difference(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """|one - other|, both in [-1, 1], in HU."""
        return np.abs(one - other) * ((self.hu_window[1] - self.hu_window[0]) / 2)

    def scores(self, patient: Patient) -> Scores:
        """distrust: 1 - P_pix as `minmax` weighs G(x), in [0, 0.95]; residual_hu: |y - G(x)|, y the patient's `ct`.

        Whole slices without augmentation. A critic with batch norm judges by its running averages here.
        """
        synthetic = self.synthetic_ct(patient)
        size = (synthetic.shape[1], synthetic.shape[2])
        with torch.inference_mode():
            batches = torch.from_numpy(synthetic[:, None]).split(BATCH_SIZE)
            logits = torch.cat([self.method.ct_critic(batch.to(self.device)).cpu() for batch in batches])
        weights = pixel_weights(logits, size, "minmax")[:, 0].numpy()
        residual_hu = self.hu_difference(synthetic, patient.ct[patient.valid])
        return {"distrust": 1 - weights, "residual_hu": residual_hu}


def validation_rows(judge: Judge, data: NormalizedData) -> list[Row]:
    """patient, mae_hu (in the head, unclipped) and iou_bone_300hu of every validation patient's paired slices."""
    rows = []
    for patient in [patient for patient in data.split("validation") if patient.valid.any()]:
        synthetic_hu = signed_to_hu(judge.synthetic_ct(patient), judge.hu_window)
        real_hu, head = patient.ct_hu[patient.valid], paired_head(patient)
        row = {"patient": patient.name, "mae_hu": mean_absolute_error(synthetic_hu, real_hu, head)}
        rows.append(row | bone_iou(synthetic_hu, real_hu, BONE_HU))
    return rows


def paired_head(patient: Patient) -> np.ndarray:
    """(n, H, W) boolean over the paired slices."""
    return patient.mask[patient.valid] > 0


def detection_rows(
    judge: Judge, scores: dict[str, Scores], original: NormalizedData, truth: Misaligned
) -> list[Row]:
    """label, score, auroc, and number and mean score of positives and of negatives; `scores` by training patient.

    Positives are pixels in the heads of the patients that `truth` warps, by two labels; negatives are all
    pixels in the heads of the other training patients.
    """
    positives = {name: warped_pixels(judge, name, original, truth) for name in truth.displacement_mm}
    others = [name for name in training_patients(original) if name not in positives]
    negatives = {name: paired_head(original.patients[name]) for name in others}
    rows = []
    for label in ("displaced", "displaced_and_changed"):
        labelled = {name: masks[label] for name, masks in positives.items()}
        for score in ("distrust", "residual_hu"):
            values = {name: of_patient[score] for name, of_patient in scores.items()}
            row = _comparison(_inside(values, labelled), _inside(values, negatives))
            rows.append({"label": label, "score": score, **row})
    return rows


def warped_pixels(
    judge: Judge, name: str, original: NormalizedData, truth: Misaligned
) -> dict[str, np.ndarray]:
    """(n, H, W) boolean by label, over a warped patient's paired slices and inside the head.

    displaced: by more than 1 mm. displaced_and_changed: and the warp changed the target by more than 100 HU.
    """
    patient, warped = original.patients[name], truth.data.patients[name]
    displaced = np.linalg.norm(truth.displacement_mm[name], axis=0) > DISPLACED_MM
    change_hu = judge.hu_difference(warped.ct[patient.valid], patient.ct[patient.valid])
    inside = paired_head(patient) & displaced
    return {"displaced": inside, "displaced_and_changed": inside & (change_hu > CHANGED_HU)}


def _inside(values: dict[str, np.ndarray], masks: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([values[name][mask] for name, mask in masks.items()])


def _comparison(positives: np.ndarray, negatives: np.ndarray) -> Row:
    row: Row = {"auroc": auroc(positives, negatives)}
    for name, values in (("positive", positives), ("negative", negatives)):
        mean = float(values.mean(dtype=float)) if len(values) else float("nan")
        row |= {f"n_{name}": len(values), f"mean_{name}": mean}
    return row
