"""What DVC runs again after a change: the real dvc.yaml over invented outputs, as `dvc status` tells it.

Only stages whose own dependencies changed are named; DVC runs what comes after them too.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo
from dvc.utils.hydra import apply_overrides

ROOT = Path(__file__).parent.parent
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
METHODS = sorted(file.stem for file in (ROOT / "mrct/methods").glob("*.py") if file.stem in PARAMS)
TRAINED = {f"baseline@{method}" for method in METHODS}
SCORED = {f"evaluate_baseline@{method}" for method in METHODS}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Our code with all methods in `baselines`, and a file for each output, as if everything had just run."""
    root = tmp_path_factory.mktemp("project")
    for name in ("mrct", "stages"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", "params.yaml", "data/sample/colin27/labels.nii.gz"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        apply_overrides("params.yaml", [f"baselines=[{','.join(METHODS)}]"])
        with Repo.init(no_scm=True) as repo:
            for out in repo.index.outs:
                write_output(Path(out.fs_path))
            repo.commit(force=True)
        yield root


def write_output(path: Path) -> None:
    """A file for an output with an ending; a folder, with what others depend on in it, for one without."""
    if path.suffix:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
        return
    for name in ("manifest.json", "patients.csv", "audit/files.csv"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(path.name)


def changed_stages() -> set[str]:
    with Repo() as repo:
        return {name.removeprefix("dvc.yaml:") for name in repo.status()}


def after(project: Path, file: str, change: Callable[[], object]) -> set[str]:
    """The stages to run after `change` of the file, which is put back."""
    before = (project / file).read_bytes()
    try:
        change()
        return changed_stages()
    finally:
        (project / file).write_bytes(before)


def after_setting(project: Path, override: str) -> set[str]:
    """As `dvc exp run -S override`."""
    return after(project, "params.yaml", lambda: apply_overrides("params.yaml", [override]))


def after_editing(project: Path, file: str) -> set[str]:
    with_a_remark = (project / file).read_text() + "\n# changed\n"
    return after(project, file, lambda: (project / file).write_text(with_a_remark))


def test_after_a_run_nothing_is_left_to_do(project: Path) -> None:
    assert changed_stages() == set()
    assert {"unet", "pix2pix", "mean_ct"} <= set(METHODS)


@pytest.mark.parametrize(
    ("override", "wanted"),
    [
        ("lambda_pix=50", {"train"}),
        ("unet.epochs=3", {"baseline@unet"}),
        ("pix2pix.lambda_adv=0.5", {"baseline@pix2pix"}),
        ("intensity_map.bins=64", {"baseline@intensity_map"}),
        ("augmentation.flip=true", {"train", *TRAINED}),
        ("evaluate.seed=4", {"evaluate", *SCORED, "report"}),
        ("report.reference=unet", {"report"}),
        ("executor=dask", set()),
    ],
)
def test_a_parameter_runs_again_what_depends_on_it(project: Path, override: str, wanted: set[str]) -> None:
    assert after_setting(project, override) == wanted


@pytest.mark.parametrize(
    ("file", "wanted"),
    [
        ("mrct/methods/unet.py", {"baseline@unet", "evaluate_baseline@unet"}),
        ("mrct/methods/sc_cyclegan.py", {"train", "evaluate"}),
        ("mrct/training/engine.py", {"train", *TRAINED}),
        ("mrct/inference/model.py", {"train", "evaluate", *TRAINED, *SCORED}),
        ("stages/baseline.py", TRAINED),
        ("stages/evaluate.py", {"evaluate", *SCORED}),
        ("mrct/reporting/comparison.html", {"report"}),
    ],
)
def test_changed_code_runs_again_who_uses_it(project: Path, file: str, wanted: set[str]) -> None:
    assert after_editing(project, file) == wanted


def test_a_method_taken_out_leaves_the_others_as_they_are(project: Path) -> None:
    rest = [method for method in METHODS if method != "unet"]
    assert after_setting(project, f"baselines=[{','.join(rest)}]") == {"report"}
