"""The whole report from plausible invented inputs: required content of the page, and inputs that may be missing."""

import json
import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers.report_factory import METHODS, ellipse_head, folders_in, write_inputs
from mrct.core.contracts import PATIENT_METRICS, REGISTERED_PATIENTS
from mrct.core.files import save_array
from mrct.core.params import ParamsError
from mrct.metrics.statistics import bootstrap_interval, paired_interval
from mrct.reporting.inputs import Folders
from stages import report

INTERVALS = report.Intervals(
    bootstrap_samples=200, seed=3, windows_8bit_hu={"full": (-1024.0, 3000.0), "brain": (-60.0, 140.0)}
)


def make(
    folders: Folders, out: Path, patients: int = 2, virtual: bool = False, reference: str = "sc_cyclegan"
) -> str:
    params = report.Params(patients=patients, reference=reference)
    return report.run(params, INTERVALS, folders, METHODS, virtual, out).read_text()


def text_only(html: str) -> str:
    """Return the page without its embedded pictures, style and tags, with white space collapsed."""
    bare = re.sub(r"<style>.*?</style>", "", html, flags=re.S)
    return " ".join(re.sub(r"<[^>]+>", " ", bare).split())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Folders, Path, str]:
    """Make the usual report once: DICOM, six test patients, both directions."""
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


def test_the_reference_comes_first_whatever_the_order_of_the_methods(
    made: tuple[Folders, Path, str], tmp_path: Path
) -> None:
    html = make(made[0], tmp_path / "out", patients=1, reference="intensity_map")
    assert "intensity map compared with scCycleGAN and mean CT on 6 test patients." in text_only(html)
    assert "bone window: intensity map, scCycleGAN, mean CT, each with its difference" in html
    assert re.search(r'<div class="tile main"><span>intensity map</span>', html)


def test_a_direction_names_the_methods_that_lack_it(made: tuple[Folders, Path, str], tmp_path: Path) -> None:
    text = section_of(made[2], "comparison")
    assert "they do not translate CT → MR: mean CT, intensity map." in text
    other = section_of(make(made[0], tmp_path / "out", patients=0, reference="mean_ct"), "comparison")
    assert "because the reference, mean CT, does not translate CT → MR." in other


def test_size_and_kept_epoch_of_every_method(made: tuple[Folders, Path, str]) -> None:
    text = section_of(made[2], "comparison")
    assert "scCycleGAN MR → CT, CT → MR 1,234,567 6 4 (MR → CT)" in text
    assert "mean CT MR → CT – – –" in text


def test_methods_stand_below_one_another_for_the_same_slices(made: tuple[Folders, Path, str]) -> None:
    _, out, html = made
    drawn = {path.name for path in (out / "figures").glob("methods_*.png")}
    # only one method has CT to MR
    assert drawn == {"methods_mr_to_ct_bone_1.png", "methods_mr_to_ct_brain_1.png"}
    assert "bone window: scCycleGAN, mean CT, intensity map, each with its difference" in html


def test_a_reference_that_no_method_is_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"report.reference: 'mean_tc'.*did you mean 'mean_ct'"):
        make(folders_in(tmp_path), tmp_path / "out", reference="mean_tc")


def test_methods_scored_on_other_patients_are_not_compared(tmp_path: Path) -> None:
    folders = write_inputs(tmp_path, n_test=3)
    mean_ct = folders.metrics / "mean_ct"
    PATIENT_METRICS.write(mean_ct, PATIENT_METRICS.read(mean_ct).iloc[1:])
    with pytest.raises(
        ValueError, match="mean_ct: evaluated on 2 test patients, sc_cyclegan on 3, of which 2"
    ):
        make(folders, tmp_path / "out")


def test_page_to_sign_states_standard_counts_proof_and_what_stays(made: tuple[Folders, Path, str]) -> None:
    folders, _, html = made
    start = html.index('<section id="deidentification">')
    text = text_only(html[start : html.index("</section>", start)])
    for wanted in (
        "edition 2026c", "Clean Descriptors Option (113105)", "shifted by 1 to 365 days", "Joined IDs 2,",
        "100 files found", "3: the same image as another file", "all 100", "0 hits 92 files (47.3 MB)",
        "1,234 values", "Faces. They were not removed", "Research use only", "signature",
    ):  # fmt: skip
        assert wanted in text
    outputs = pd.read_csv(folders.anonymized / "audit/files.csv")["output"].dropna()
    assert not any(output in html for output in outputs)


def test_defaced_images_are_said_to_be_so_and_where_faces_still_are(tmp_path: Path) -> None:
    folders = write_inputs(tmp_path / "in", n_test=1)
    table = REGISTERED_PATIENTS.read(folders.registered).assign(removed_face_percent=11.0)
    REGISTERED_PATIENTS.write(folders.registered, table)
    text = text_only(make(folders, tmp_path / "out", patients=0))
    assert "They were removed from the aligned images of 6 patients" in text
    assert "data/selected and the thumbnails of the series on this page still show them" in text


def test_registration_shows_how_far_apart_the_skin_lies(tmp_path: Path) -> None:
    folders = write_inputs(tmp_path / "in", n_test=1)
    table = REGISTERED_PATIENTS.read(folders.registered).assign(residual_edge_mm=2.7, spread_mm=1.4)
    REGISTERED_PATIENTS.write(folders.registered, table)
    text = text_only(make(folders, tmp_path / "out", patients=0))
    assert "skin CT to MR, mm 2.7 2.7 2.7" in " ".join(text.split())
    assert "distance of other starts and halves, mm 1.4 1.4 1.4" in " ".join(text.split())


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
        ("models/mean_ct/model.json", "train"),
    ],
)
def test_missing_required_input_is_named_with_its_stage(tmp_path: Path, lost: str, stage: str) -> None:
    folders = write_inputs(tmp_path, n_test=1)
    (tmp_path / lost).unlink()
    with pytest.raises(FileNotFoundError, match=f"{re.escape(lost)}.*run the stage {stage}"):
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
        "methods": ["sc_cyclegan", "mean_ct"],
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
