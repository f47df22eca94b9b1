"""The whole report from a plausible set of invented inputs: what must be there, what may be missing."""

import json
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers.audit_factory import write_audit
from mrct.core.files import save_array, write_json, write_table
from mrct.core.params import ParamsError
from mrct.metrics.statistics import bootstrap_interval, paired_interval
from mrct.reporting.inputs import Folders
from stages import report

METHODS = ["sc_cyclegan", "mean_ct", "intensity_map"]
ERROR_HU = {"sc_cyclegan": 60.0, "mean_ct": 200.0, "intensity_map": 150.0}
INTERVALS = report.Intervals(
    bootstrap_samples=200, seed=3, windows_8bit_hu={"full": (-1024.0, 3000.0), "brain": (-60.0, 140.0)}
)

Volumes = Callable[[int], tuple[np.ndarray, np.ndarray, np.ndarray]]


def ellipse_head(n: int, depth: int = 3, size: int = 32) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A skull around a brain: CT in HU, MR in [0, 1], head mask; each (D, H, W)."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    radius = np.hypot(x * (1.25 + 0.02 * n), y)
    ct = np.select([radius < 0.7, radius < 0.8, radius < 0.88], [35.0, 900.0, 20.0], -1000.0)
    mr = np.select([radius < 0.7, radius < 0.8, radius < 0.88], [0.6, 0.05, 0.8], 0.0)
    return tuple(np.repeat(a[None], depth, axis=0).astype(np.float32) for a in (ct, mr, radius < 0.88))  # type: ignore[return-value]


def folders_in(root: Path) -> Folders:
    return Folders(*(root / field.name for field in fields(Folders)))


def write_inputs(
    root: Path, n_test: int = 6, dicom: bool = True, both_ways: bool = True, volumes: Volumes = ellipse_head
) -> Folders:
    """All inputs of the report: 4 training, 1 validation and n_test test patients."""
    folders = folders_in(root)
    patients = {
        f"P{n:010x}": split for n, split in enumerate(["train"] * 4 + ["validation"] + ["test"] * n_test)
    }
    _write_audit(folders, dicom)
    _write_selection(folders, list(patients), dicom, volumes)
    _write_volumes(folders, patients, volumes)
    for method in METHODS:
        directions = ["mr_to_ct", *(["ct_to_mr"] if both_ways and method == "sc_cyclegan" else [])]
        _write_model(folders, method)
        _write_metrics(folders, method, directions, [p for p in patients if patients[p] == "test"], volumes)
    return folders


def _write_audit(folders: Folders, dicom: bool) -> None:
    layout = {"layout": "dicom" if dicom else "volumes", "registered": not dicom, "mr_weighting": "t1"}
    write_json(folders.anonymized / "manifest.json", layout)
    write_audit(folders.anonymized / "audit", dicom)


def _write_selection(folders: Folders, patients: list[str], dicom: bool, volumes: Volumes) -> None:
    kinds = [("CT", "kept", "", ""), ("MR", "kept", "", "")]
    if dicom:
        kinds += [("MR", "rejected", "coronal", "the slices stand 88° from axial"),
                  ("MR", "rejected", "tse", "an echo train of 16: a turbo spin echo")]  # fmt: skip
    rows = []
    for n, patient in enumerate(patients):
        for i, (modality, decision, rule, reason) in enumerate(kinds):
            row = {"patient": patient, "series": f"S{i}", "modality": modality, "description": "AX <T2>"}
            rows.append(row | {"decision": decision, "rule": rule, "reason": reason})
            picture = volumes(n)[0 if modality == "CT" else 1][0]
            grey = (255 * (picture - picture.min()) / np.ptp(picture)).astype(np.uint8)
            (folders.selected / "thumbnails").mkdir(parents=True, exist_ok=True)
            Image.fromarray(grey).save(folders.selected / f"thumbnails/{patient}_S{i}.png")
    write_table(folders.selected / "series.csv", pd.DataFrame(rows))
    status = pd.DataFrame(
        {"patient": [*patients, "Pffffffffff"], "status": "paired", "days_between": 0, "reason": ""}
    )
    status.loc[len(patients), ["status", "reason"]] = ["unpaired", "no MR series is left"]
    write_table(folders.selected / "patients.csv", status)


def _write_volumes(folders: Folders, patients: dict[str, str], volumes: Volumes) -> None:
    rows, manifest = [], {}
    for n, (patient, split) in enumerate(patients.items()):
        ct, mr, mask = volumes(n)
        for name, array in {"ct_hu": ct, "mr": 2 * mr - 1, "mask": mask.astype(np.uint8)}.items():
            save_array(folders.normalized / patient / f"{name}.npy", array)
        rows += [{"patient": patient, "k": k, "split": split} for k in range(len(ct))]
        manifest[patient] = {"split": split, "depth": len(ct)}
    pairs = pd.DataFrame(rows)
    write_table(folders.pairs / "pairs.csv", pairs)
    splits = pairs.groupby(["patient", "split"]).size().rename("n_pairs").reset_index()
    write_table(folders.pairs / "splits.csv", splits)
    rejected = pd.DataFrame(
        [("P0000000000", 9, "empty", "the head fills 12 of 40 cm²")],
        columns=["patient", "k", "rule", "reason"],
    )
    write_table(folders.pairs / "rejected.csv", rejected)
    (folders.pairs / "contact_sheets").mkdir()
    for split in ("test_1", "test_2", "train_1"):
        Image.new("L", (64, 32), 90).save(folders.pairs / f"contact_sheets/{split}.png")
    numbers = {"similarity": 0.8, "overlap": 0.95, "rotation_deg": 4.0, "translation_mm": 12.0}
    registered = pd.DataFrame({"patient": list(patients), "status": "registered", **numbers, "reason": ""})
    write_table(folders.registered / "patients.csv", registered)
    scale = {"image_size": ct.shape[-1], "pixel_spacing_mm": 2.0, "hu_window": [-1024.0, 3000.0]}
    mr_scale = {"method": "percentile", "percentiles": [0.5, 99.5]}
    write_json(folders.normalized / "manifest.json", {**scale, "mr": mr_scale, "patients": manifest})


def _write_model(folders: Folders, method: str) -> None:
    content = {
        "method": method,
        "fingerprint": f"made-up-{method}",
        "data_sha256": "0",
        "params": {"lambda_pix": 100.0},
        "normalization": {"image_size": 64},
    }
    if method == "sc_cyclegan":
        content |= {"best_epoch": {"mr_to_ct": 4}, "n_parameters": {"mr_to_ct": 1234567}}
        epochs = np.arange(1, 7)
        losses = {f"{t}_ct": 1.0 / epochs + 0.1 * i for i, t in enumerate(["adv", "pix", "cyc"])}
        history = pd.DataFrame({"epoch": epochs, **losses, "validation_mr_to_ct": 90 + (epochs - 4.0) ** 2})
        write_table(folders.models / method / "history.csv", history)
    write_json(folders.models / method / "model.json", content)


def ct_metrics(error_hu: float) -> dict[str, float]:
    """The columns that evaluate writes, with values that a reader would believe."""
    volume = {"mae_hu": error_hu, "psnr_db": 20 * np.log10(4024 / error_hu) - 2, "psnr_bound_db": 40.0}
    overlap = {"iou_bone_300hu": max(0.0, 1 - error_hu / 300), "iou_head": 0.99}
    full = {"mae_8bit_full": error_hu / 16, "psnr_8bit_full_db": 33.0, "ssim_8bit_full": 0.8}
    brain = {"mae_8bit_brain": error_hu / 2, "psnr_8bit_brain_db": 20.0, "ssim_8bit_brain": 0.45}
    return volume | {"ssim_2d": 1 - error_hu / 500} | overlap | full | brain


def mr_metrics(error: float) -> dict[str, float]:
    return {"mae_8bit": 255 * error, "psnr_8bit_db": 26.0, "ssim_8bit": 0.8, "iou_otsu": 0.7}


def _write_metrics(
    folders: Folders, method: str, directions: list[str], test: list[str], volumes: Volumes
) -> None:
    rng = np.random.default_rng(len(method))
    rows = []
    for n, patient in enumerate(test):
        ct, mr, mask = volumes(5 + n)
        for direction in directions:
            real, scale = (ct, 1.3 * ERROR_HU[method]) if direction == "mr_to_ct" else (mr, 0.08)
            synthetic = real + mask * rng.normal(0, scale * (1 + 0.05 * n), real.shape)
            save_array(
                folders.metrics / method / f"predictions/{patient}_{direction}.npy",
                synthetic.astype(np.float32),
            )
            error = float(np.abs(synthetic - real)[mask > 0].mean())
            chosen = ct_metrics(error) if direction == "mr_to_ct" else mr_metrics(error)
            rows += [{"direction": direction, "patient": patient, "k": k} | chosen for k in range(len(ct))]
    slices = pd.DataFrame(rows)
    write_table(folders.metrics / method / "slices.csv", slices)
    patients = slices.drop(columns="k").groupby(["direction", "patient"]).mean().reset_index()
    write_table(folders.metrics / method / "patients.csv", patients)
    summary: dict[str, object] = {"method": method, "n_patients": len(test)}
    for direction in directions:
        own = patients[patients["direction"] == direction].dropna(axis=1, how="all")
        intervals = {c: bootstrap_interval(own[c].to_numpy(), 200, 3) for c in own.columns[2:]}
        summary[direction] = {
            c: dict(zip(("mean", "low", "high"), v, strict=True)) for c, v in intervals.items()
        }
    write_json(folders.metrics / method / "summary.json", summary)


def make(
    folders: Folders, out: Path, patients: int = 2, virtual: bool = False, reference: str = "sc_cyclegan"
) -> str:
    params = report.Params(patients=patients, reference=reference)
    return report.run(params, INTERVALS, folders, METHODS, virtual, out).read_text()


def text_only(html: str) -> str:
    """The page without its embedded pictures, style and tags, white space collapsed."""
    bare = re.sub(r"<style>.*?</style>", "", html, flags=re.S)
    return " ".join(re.sub(r"<[^>]+>", " ", bare).split())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Folders, Path, str]:
    """The usual case, made once: DICOM, six test patients, both directions."""
    root = tmp_path_factory.mktemp("report")
    folders = write_inputs(root / "in")
    return folders, root / "out", make(folders, root / "out")


def test_page_needs_no_web_and_no_script(made: tuple[Folders, Path, str]) -> None:
    _, _, html = made
    assert "<script" not in html
    assert "http:" not in html
    assert "https:" not in html
    assert set(re.findall(r'<img src="([^"]{0,16})', html)) == {"data:image/webp;"}


def test_every_picture_has_alternative_text(made: tuple[Folders, Path, str]) -> None:
    _, _, html = made
    pictures = re.findall(r"<img [^>]*>", html)
    assert pictures
    assert all(re.search(r'alt="[^"]{10,}"', picture) for picture in pictures)


def test_key_result_is_the_mean_of_the_patients(made: tuple[Folders, Path, str]) -> None:
    folders, _, html = made
    table = pd.read_csv(folders.metrics / "sc_cyclegan/patients.csv")
    mean = table.loc[table["direction"] == "mr_to_ct", "mae_hu"].mean()
    assert f"scCycleGAN {mean:.1f} HU" in text_only(html)


def test_methods_are_called_worse_only_with_enough_patients(
    made: tuple[Folders, Path, str], tmp_path: Path
) -> None:
    assert text_only(made[2]).count("worse than scCycleGAN") == 2
    few = text_only(make(write_inputs(tmp_path / "in", n_test=4), tmp_path / "out", patients=0))
    assert "than scCycleGAN" not in few
    assert "Only 4 test patients" in few


def section_of(html: str, name: str) -> str:
    start = html.index(f'<section id="{name}">')
    return text_only(html[start : html.index("</section>", start)])


def test_comparison_states_mean_interval_and_difference_from_the_chosen_reference(
    made: tuple[Folders, Path, str], tmp_path: Path
) -> None:
    folders, _, _ = made
    text = section_of(make(folders, tmp_path / "out", patients=0, reference="intensity_map"), "comparison")
    tables = {
        m: pd.read_csv(folders.metrics / m / "patients.csv")
        .query("direction == 'mr_to_ct'")
        .set_index("patient")
        for m in METHODS
    }
    for method, name in {"sc_cyclegan": "scCycleGAN", "mean_ct": "mean CT"}.items():
        mean, low, high = bootstrap_interval(tables[method]["mae_hu"].to_numpy(), 200, 3)
        gap, *_ = paired_interval(
            tables[method]["mae_hu"].to_numpy(), tables["intensity_map"]["mae_hu"].to_numpy(), 200, 3
        )
        wanted = f"{name} {mean:.1f} {low:.1f} to {high:.1f} {gap:+.1f} ".replace("-", "\N{MINUS SIGN}")
        assert wanted + ("better" if method == "sc_cyclegan" else "worse") in text
    assert "intensity map the reference" in text


def test_a_direction_names_the_methods_that_lack_it(made: tuple[Folders, Path, str], tmp_path: Path) -> None:
    text = section_of(made[2], "comparison")
    assert "they do not translate CT → MR: mean CT, intensity map." in text
    other = section_of(make(made[0], tmp_path / "out", patients=0, reference="mean_ct"), "comparison")
    assert "mean CT, the reference, does not translate CT → MR: no differences here." in other


def test_size_and_kept_epoch_of_every_method(made: tuple[Folders, Path, str]) -> None:
    text = section_of(made[2], "comparison")
    assert "scCycleGAN MR → CT, CT → MR 1,234,567 6 4 (MR → CT)" in text
    assert "mean CT MR → CT – – –" in text


def test_methods_stand_below_one_another_for_the_same_slices(made: tuple[Folders, Path, str]) -> None:
    _, out, html = made
    drawn = {path.name for path in (out / "figures").glob("methods_*.png")}
    assert drawn == {
        "methods_mr_to_ct_bone_1.png",
        "methods_mr_to_ct_brain_1.png",
    }  # one method alone has CT to MR
    assert "bone window: scCycleGAN, mean CT, intensity map, each with its difference" in html


def test_a_reference_that_no_method_is_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"report.reference: 'mean_tc'.*did you mean 'mean_ct'"):
        make(folders_in(tmp_path), tmp_path / "out", reference="mean_tc")


def test_methods_scored_on_other_patients_are_not_compared(tmp_path: Path) -> None:
    folders = write_inputs(tmp_path, n_test=3)
    path = folders.metrics / "mean_ct/patients.csv"
    write_table(path, pd.read_csv(path).iloc[1:])
    with pytest.raises(ValueError, match="mean_ct: scored on 2 test patients, sc_cyclegan on 3, 2 of them"):
        make(folders, tmp_path / "out")


def test_page_to_sign_states_standard_counts_proof_and_what_stays(made: tuple[Folders, Path, str]) -> None:
    folders, _, html = made
    start = html.index('<section id="deidentification">')
    text = text_only(html[start : html.index("</section>", start)])
    for wanted in (
        "edition 2026c", "Clean Descriptors Option (113105)", "moved by 1 to 365 days", "Joined IDs 2,",
        "100 files found", "3: the same image as another file", "all 100", "0 hits 92 files (47.3 MB)",
        "1,234 values", "Faces. They were not removed", "Research use only", "signature",
    ):  # fmt: skip
        assert wanted in text
    outputs = pd.read_csv(folders.anonymized / "audit/files.csv")["output"].dropna()
    assert not any(output in html for output in outputs)


def test_defaced_images_are_said_to_be_so_and_where_faces_still_are(tmp_path: Path) -> None:
    folders = write_inputs(tmp_path / "in", n_test=1)
    table = pd.read_csv(folders.registered / "patients.csv").assign(removed_face_percent=11.0)
    write_table(folders.registered / "patients.csv", table)
    text = text_only(make(folders, tmp_path / "out", patients=0))
    assert "Cut off in the aligned images of 6 patients" in text
    assert "data/selected and the small pictures of the series on this page still show them" in text


def test_registration_shows_how_far_apart_the_skin_lies(tmp_path: Path) -> None:
    folders = write_inputs(tmp_path / "in", n_test=1)
    table = pd.read_csv(folders.registered / "patients.csv").assign(residual_edge_mm=2.7)
    write_table(folders.registered / "patients.csv", table)
    text = text_only(make(folders, tmp_path / "out", patients=0))
    assert "skin CT to MR, mm 2.7 2.7 2.7" in " ".join(text.split())


def test_every_series_is_shown_with_its_fate(made: tuple[Folders, Path, str]) -> None:
    folders, _, html = made
    series = pd.read_csv(folders.selected / "series.csv")
    assert html.count('<figure class="kept">') == (series["decision"] == "kept").sum()
    assert html.count('class="why"') == (series["decision"] == "rejected").sum()
    assert "the slices stand 88° from axial" in html


def test_text_of_a_header_cannot_become_markup(made: tuple[Folders, Path, str]) -> None:
    assert "AX &lt;T2&gt;" in made[2]
    assert "<T2>" not in made[2]


def test_figures_are_written_beside_the_page(made: tuple[Folders, Path, str]) -> None:
    _, out, _ = made
    names = {path.name for path in (out / "figures").iterdir()}
    assert {"patients_mr_to_ct.png", "patients_ct_to_mr.png", "training_sc_cyclegan.png"} < names
    assert sum(name.endswith("_mr_to_ct_bone.png") for name in names) == 2


def test_shown_patients_are_the_best_and_the_worst(made: tuple[Folders, Path, str]) -> None:
    folders, out, _ = made
    table = pd.read_csv(folders.metrics / "sc_cyclegan/patients.csv")
    scores = table[table["direction"] == "mr_to_ct"].set_index("patient")["mae_hu"]
    shown = {path.name.split("_")[0] for path in (out / "figures").glob("*_ct_bone.png")}
    assert shown == {scores.idxmin(), scores.idxmax()}


def test_same_inputs_same_bytes(made: tuple[Folders, Path, str], tmp_path: Path) -> None:
    folders, out, html = made
    assert make(folders, tmp_path / "again") == html
    for path in sorted((out / "figures").iterdir()):
        assert (tmp_path / "again/figures" / path.name).read_bytes() == path.read_bytes(), path.name


def test_inputs_are_left_as_they_were(tmp_path: Path) -> None:
    folders = write_inputs(tmp_path / "in", n_test=2)
    before = {path: path.read_bytes() for path in sorted((tmp_path / "in").rglob("*")) if path.is_file()}
    make(folders, tmp_path / "out", patients=1)
    after = {path: path.read_bytes() for path in sorted((tmp_path / "in").rglob("*")) if path.is_file()}
    assert after == before


def test_volumes_one_slice_and_one_direction_are_enough(tmp_path: Path) -> None:
    folders = write_inputs(
        tmp_path / "in", n_test=1, dicom=False, both_ways=False, volumes=lambda n: ellipse_head(n, depth=1)
    )
    text = text_only(make(folders, tmp_path / "out", virtual=True))
    assert "These patients are virtual." in text
    assert "Only 1 test patient." in text
    assert "image volumes without DICOM attributes" in text
    assert "Header attributes" not in text
    assert "Every series was kept." in text
    assert "CT → MR" not in text


def test_no_thumbnail_no_sheet_no_picture_still_makes_a_page(tmp_path: Path) -> None:
    folders = write_inputs(tmp_path / "in", n_test=1)
    for path in [*(folders.selected / "thumbnails").iterdir(), *(folders.pairs / "contact_sheets").iterdir()]:
        path.unlink()
    html = make(folders, tmp_path / "out", patients=0)
    assert html.count("no thumbnail") == len(pd.read_csv(folders.selected / "series.csv"))
    assert "No test patient is shown" in text_only(html)


@pytest.mark.parametrize(
    ("lost", "stage"),
    [
        ("metrics/mean_ct/patients.csv", "evaluate"),
        ("metrics/sc_cyclegan/summary.json", "evaluate"),
        ("anonymized/audit/files.csv", "anonymize"),
        ("anonymized/audit/attributes.csv", "anonymize"),
        ("anonymized/audit/summary.json", "anonymize"),
        ("selected/series.csv", "select"),
        ("registered/patients.csv", "register"),
        ("pairs/splits.csv", "pair"),
        ("normalized/manifest.json", "normalize"),
        ("models/sc_cyclegan/history.csv", "train"),
    ],
)
def test_missing_required_input_is_named_with_its_stage(tmp_path: Path, lost: str, stage: str) -> None:
    folders = write_inputs(tmp_path, n_test=1)
    (tmp_path / lost).unlink()
    with pytest.raises(FileNotFoundError, match=f"{re.escape(lost)}.*rerun {stage}"):
        make(folders, tmp_path / "out")
    assert not (tmp_path / "out/index.html").exists()


def test_prediction_of_another_shape_is_an_error(tmp_path: Path) -> None:
    folders = write_inputs(tmp_path, n_test=1)
    path = next((folders.metrics / "mean_ct/predictions").glob("*.npy"))
    save_array(path, np.load(path)[:, :-1])
    with pytest.raises(ValueError, match="expected the CT's"):
        make(folders, tmp_path / "out")
    assert not (tmp_path / "out/figures").exists()


def test_main_reads_the_params_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"metrics": "reports/metrics", "models": "models"}
    write_inputs(tmp_path / "in", n_test=1)
    for field in fields(Folders):
        target = tmp_path / names.get(field.name, f"data/{field.name}")
        target.parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / field.name).rename(target)
    settings = {
        "source": "data/cohort",
        "baselines": ["mean_ct"],
        "evaluate": json.loads(INTERVALS.model_dump_json()) | {"bone_hu": [150.0]},
        "report": {"patients": 1, "reference": "mean_ct"},
    }
    (tmp_path / "params.yaml").write_text(json.dumps(settings))
    monkeypatch.chdir(tmp_path)
    report.main()
    text = text_only((tmp_path / "reports/index.html").read_text())
    assert "These patients are virtual." in text
    assert "mean CT" in text
    assert "intensity map" not in text
