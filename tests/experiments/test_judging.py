"""Errors, P_pix and labels against what they are written out."""

import numpy as np
import pytest
import torch

from mrct.experiments.judging import Judge, detection_rows, validation_rows, warped_pixels
from mrct.experiments.misaligned import misalign, training_patients
from mrct.losses.pixel import pixel_weights
from mrct.methods.sc_cyclegan import Params, ScCycleGan
from mrct.params import load
from mrct.training.dataset import open_normalized


@pytest.fixture
def judge() -> Judge:
    torch.manual_seed(0)
    usual = load(Params)
    small = {
        "generator": usual.generator.model_copy(update={"filters": 4, "blocks": 1, "downsamplings": 1}),
        "discriminator": usual.discriminator.model_copy(update={"filters": 4}),
    }
    method = ScCycleGan(usual.model_copy(update=small))
    with torch.no_grad():
        method.ct_critic.layers[-1].bias.fill_(0.5)  # logits on both sides of the limits
        method.ct_critic.layers[-1].weight.mul_(3)
    return Judge(method, torch.device("cpu"), (-1024.0, 3000.0))


def test_validation_rows_are_the_plain_figures(cohort, judge):
    data = open_normalized(cohort)
    rows = validation_rows(judge, data)
    assert [row["patient"] for row in rows] == [patient.name for patient in data.split("validation")]
    patient, row = data.split("validation")[1], rows[1]
    errors, both, either = [], 0, 0
    for k in np.flatnonzero(patient.valid):
        with torch.inference_mode():
            signed = judge.method.mr_to_ct(torch.from_numpy(np.array(patient.mr[k]))[None, None])[
                0, 0
            ].numpy()
        synthetic = (signed + 1) / 2 * 4024 - 1024
        errors += list(np.abs(synthetic - patient.ct_hu[k])[patient.mask[k] > 0])
        both += ((synthetic >= 300) & (patient.ct_hu[k] >= 300)).sum()
        either += ((synthetic >= 300) | (patient.ct_hu[k] >= 300)).sum()
    assert row["mae_hu"] == pytest.approx(np.mean(errors), rel=1e-4)
    assert row["iou_bone_300hu"] == pytest.approx(both / either)


def test_scores_are_what_the_loss_weighs_and_the_distance_to_the_target(cohort, judge):
    data = open_normalized(cohort)
    patient = data.patients[training_patients(data)[0]]
    k = np.flatnonzero(patient.valid)
    mr, ct = data.slices([(patient.name, int(place)) for place in k])
    synthetic = judge.method.mr_to_ct(mr)
    weights = pixel_weights(judge.method.ct_critic(synthetic), (32, 32), "minmax")[:, 0].numpy()
    assert weights.min() == pytest.approx(0.05)
    assert weights.max() > 0.5
    scores = judge.scores(patient)
    assert np.allclose(scores["distrust"], 1 - weights, atol=1e-5)
    residual_hu = (synthetic.detach() - ct).abs()[:, 0].numpy() * 2012
    assert np.allclose(scores["residual_hu"], residual_hu, atol=0.1)


def test_labels_are_displacement_and_change_inside_the_head(cohort, judge):
    data = open_normalized(cohort)
    truth = misalign(data, 0, 2.0)
    name = min(truth.displacement_mm)
    patient, field = data.patients[name], truth.displacement_mm[name]
    labels = warped_pixels(judge, name, data, truth)
    counts = {"displaced": 0, "displaced_and_changed": 0}
    for n, k in enumerate(np.flatnonzero(patient.valid)):
        for j in range(32):
            for i in range(32):
                moved = bool(patient.mask[k, j, i] and np.hypot(*field[:, j, i]) > 1)
                change_hu = (
                    abs(float(truth.data.patients[name].ct[k, j, i]) - float(patient.ct[k, j, i])) * 2012
                )
                assert labels["displaced"][n, j, i] == moved
                assert labels["displaced_and_changed"][n, j, i] == (moved and change_hu > 100)
                counts["displaced"] += moved
                counts["displaced_and_changed"] += moved and change_hu > 100
    assert 0 < counts["displaced_and_changed"] < counts["displaced"] < (patient.mask[patient.valid] > 0).sum()


def test_a_score_that_knows_finds_everything_and_a_blind_one_nothing(cohort, judge):
    data = open_normalized(cohort)
    truth = misalign(data, 0, 4.0)
    scores = {}
    for name in training_patients(data):
        shape = data.patients[name].mr[data.patients[name].valid].shape
        knows = np.full(shape, float(name in truth.displacement_mm))
        scores[name] = {"distrust": np.zeros(shape), "residual_hu": knows}
    rows = detection_rows(judge, scores, data, truth)
    assert [(row["label"], row["score"], row["auroc"]) for row in rows] == [
        ("displaced", "distrust", 0.5),
        ("displaced", "residual_hu", 1.0),
        ("displaced_and_changed", "distrust", 0.5),
        ("displaced_and_changed", "residual_hu", 1.0),
    ]
    others = set(training_patients(data)) - set(truth.displacement_mm)
    n_negative = sum((data.patients[name].mask[data.patients[name].valid] > 0).sum() for name in others)
    for row in rows:
        assert row["n_negative"] == n_negative
        assert (row["mean_negative"], row["mean_positive"]) == (0, float(row["score"] == "residual_hu"))
