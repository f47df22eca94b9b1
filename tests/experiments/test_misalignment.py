"""The experiment as a whole on tiny slices: all its files, the same bytes after a kill, and what is refused."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from mrct.cli import app
from mrct.experiments import misalignment_run
from mrct.experiments.misalignment import investigate
from mrct.experiments.misalignment_run import Job, Params, Run, carry_out, runs_of
from mrct.experiments.misalignment_tables import differences
from mrct.methods.sc_cyclegan import Params as MethodParams
from mrct.params import load
from mrct.training import checkpoint
from mrct.training.engine import CHECKPOINT
from mrct.training.settings import Settings


def tiny(epochs: int = 1, **method) -> Params:
    usual = load(MethodParams)
    small = {
        "generator": usual.generator.model_copy(update={"filters": 2, "blocks": 0, "downsamplings": 1}),
        "discriminator": usual.discriminator.model_copy(update={"filters": 2}),
    }
    shorter = {"epochs": epochs, "device": "cpu", "batch_size": 4, "ema_decay": 0.0}
    return Params(
        method=usual.model_copy(update=small | method),
        settings=load(Settings).model_copy(update=shorter),
        seeds=(3,),
        bootstrap_samples=50,
        bootstrap_seed=0,
    )


class Killed(BaseException):
    """Stands for SIGKILL: nothing may catch it."""


def test_all_files_and_the_same_bytes_after_a_kill(cohort, tmp_path, monkeypatch):
    monkeypatch.setattr(misalignment_run, "WARPS_MM", (0.0, 4.0))
    params, trained, fit = tiny(), [], misalignment_run.fit

    def killed_in_the_third(build, data, settings, work, on_epoch):
        trained.append(work.name)
        done = fit(build, data, settings, work, on_epoch)
        if len(trained) == 3:  # trained, not judged
            raise Killed
        return done

    monkeypatch.setattr(misalignment_run, "fit", killed_in_the_third)
    with pytest.raises(Killed):
        investigate(params, cohort, tmp_path / "cut", tmp_path / "work")
    assert not (tmp_path / "cut").exists()
    investigate(params, cohort, tmp_path / "cut", tmp_path / "work")
    names = [run.name for run in runs_of(params)]
    assert trained == [*names[:3], *names[2:]]  # two stood; the third went on
    assert not list((tmp_path / "work").rglob(CHECKPOINT))

    summary = investigate(params, cohort, tmp_path / "whole", tmp_path / "other")
    files = sorted(file.name for file in (tmp_path / "whole").iterdir())
    assert files == [
        "auroc.csv",
        "differences.csv",
        "misalignment.png",
        "patients.csv",
        "runs.csv",
        "summary.json",
    ]
    for name in files:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes(), name
    _check(tmp_path / "whole", summary)


def _check(folder, summary):
    patients, runs, auroc = (pd.read_csv(folder / f"{name}.csv") for name in ("patients", "runs", "auroc"))
    assert json.loads((folder / "summary.json").read_text()) == summary
    assert (summary["n_training_patients"], summary["n_warped_patients"]) == (5, 2)
    assert len(runs) == 8
    assert len(patients) == 8 * 5
    first = patients[(patients["warp_mm"] == 0) & (patients["pixel_weighting"] == "minmax")]
    of_first = first[first["structure_loss"] == "sc_map"]["mae_hu"]
    assert runs["mae_hu"][0] == pytest.approx(of_first.mean())
    assert runs["mae_hu"].nunique() == 8  # every run is another training
    assert set(auroc["label_warp_mm"]) == {4}  # the runs without warp are judged by the same pixels
    assert len(auroc) == 8 * 2 * 2
    assert auroc["auroc"].between(0, 1).all()
    assert auroc.groupby("label")["n_positive"].nunique().eq(1).all()
    assert Image.open(folder / "misalignment.png").width > 1000


def test_the_last_epoch_is_judged_not_the_best(cohort, tmp_path, monkeypatch):
    job = Job(Run(3, 4.0, "minmax", "none"), tiny(epochs=3), cohort, tmp_path / "run")
    seen, judge = {}, misalignment_run._judge

    def spy(job, method, original, targets):
        seen["weights"] = method.state_dict()
        seen["saved"] = checkpoint.load(job.folder / CHECKPOINT)[0]
        judge(job, method, original, targets)

    monkeypatch.setattr(misalignment_run, "_judge", spy)
    carry_out(job)
    saved = checkpoint.under(seen["saved"], "networks/")
    assert all((weight == saved[name]).all() for name, weight in seen["weights"].items())
    example = np.load(tmp_path / "run" / "example.npy")
    assert example.shape == (5, 32, 32)
    assert (example[3] >= 0.05 - 1e-6).all()
    assert not np.array_equal(example[1], example[2])


def test_the_moving_average_is_judged_where_there_is_one(cohort, tmp_path, monkeypatch):
    params = tiny()
    params = params.model_copy(update={"settings": params.settings.model_copy(update={"ema_decay": 0.9})})
    job = Job(Run(3, 0.0, "none", "none"), params, cohort, tmp_path / "run")
    seen, judge = {}, misalignment_run._judge

    def spy(job, method, original, targets):
        seen["networks"] = method.generators()["mr_to_ct"].state_dict()
        seen["saved"] = checkpoint.load(job.folder / CHECKPOINT)[0]
        judge(job, method, original, targets)

    monkeypatch.setattr(misalignment_run, "_judge", spy)
    carry_out(job)
    average = checkpoint.under(seen["saved"], "average/mr_to_ct.")
    trained = checkpoint.under(seen["saved"], "networks/mr_to_ct.")
    assert all((weight == average[name]).all() for name, weight in seen["networks"].items())
    assert any((weight != trained[name]).any() for name, weight in average.items())


def test_differences_are_paired_over_patients_after_the_mean_over_seeds():
    rows = [
        {"seed": seed, "warp_mm": 2.0, "pixel_weighting": weighting, "structure_loss": structure}
        | {"patient": f"P{patient}", "mae_hu": mae_hu, "iou_bone_300hu": 0.5}
        for seed, drift in ((0, -20.0), (1, 20.0))
        for weighting, gain in (("minmax", -3.0), ("none", 0.0))
        for structure, other_gain in (("sc_map", 7.0), ("none", 0.0))
        for patient, level in enumerate((60.0, 80.0, 100.0, 90.0, 70.0))
        for mae_hu in [level + drift + gain + other_gain + (patient - 2 if weighting == "minmax" else 0)]
    ]
    table = differences(pd.DataFrame(rows), 200, 0).set_index(["question", "other", "metric"])
    for other in ("none", "sc_map", "both"):
        found = table.loc[("p_pix", other, "mae_hu")]
        assert found["difference"] == pytest.approx(-3.0)
        assert -5 <= found["low"] < -3 < found["high"] <= -1  # patients differ by -2 to 2, seeds by 40
        assert found["n_patients"] == 5
    structure = table.loc[("structure", "both", "mae_hu")]
    assert (structure["difference"], structure["low"], structure["high"]) == pytest.approx((7.0, 7.0, 7.0))
    assert table.loc[("structure", "both", "iou_bone_300hu")]["difference"] == 0


def test_what_cannot_be_answered_is_refused_before_work(cohort, tmp_path):
    def refused(params: Params, words: str, out=tmp_path / "out") -> None:
        with pytest.raises(ValueError, match=words):
            investigate(params, cohort, out, tmp_path / "work")
        assert not (tmp_path / "work").exists()

    refused(tiny(lambda_pix=0.0), "lambda_pix is 0")
    refused(tiny(lambda_str=0.0), "lambda_str is 0")
    refused(tiny().model_copy(update={"seeds": (1, 1)}), "each once")
    (tmp_path / "mine").mkdir()
    refused(tiny(), "no result of this experiment", tmp_path / "mine")
    pairs = pd.read_csv(cohort / "pairs.csv", dtype={"patient": str})
    train = pairs[pairs["split"] == "train"]
    train.to_csv(cohort / "pairs.csv", index=False)
    refused(tiny(), "no validation pair")
    few = pairs[~pairs["patient"].isin(sorted(train["patient"].unique())[:2])]
    few.to_csv(cohort / "pairs.csv", index=False)
    refused(tiny(), "got 3 training patients")


def test_the_command_names_missing_data(tmp_path):
    arguments = [
        "experiment",
        "misalignment",
        "--data",
        str(tmp_path / "none"),
        "--out",
        str(tmp_path / "out"),
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "normalize stage first" in result.output.replace("\n", " ")
    assert "Traceback" not in result.output
