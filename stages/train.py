"""train: scCycleGAN, both directions.  data/normalized -> models/sc_cyclegan

Trains on the training pairs, chooses each direction's epoch by the validation patients, never sees a test
patient. A killed run goes on from its last epoch: checkpoints lie in .work/train-<fingerprint>-<code>, a folder
DVC does not know (it empties a stage's outs before it runs), so another λ or other code can never resume this run.
Several processes train one model: torchrun --nproc-per-node 2 -m stages.train, then dvc commit -f train.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from pydantic import Field

from mrct.files import folder_hash, output_folder, write_json, write_table
from mrct.inference.model import save_model
from mrct.methods import sc_cyclegan
from mrct.params import Section, load
from mrct.resume import ROOMS, code_hash
from mrct.runner import run_stage
from mrct.tracking import Run, origin_tags
from mrct.training import distributed
from mrct.training.dataset import NormalizedData, open_normalized
from mrct.training.engine import Epoch, Progress, choose_device, fit
from mrct.training.examples import example_sheet
from mrct.training.fingerprint import file_hash, fingerprint
from mrct.training.settings import Settings
from mrct.training.usage import Usage

METHOD = "sc_cyclegan"
#: What makes a checkpoint's bytes, beside parameters and data.
CODE = (Path(__file__), *(ROOMS / name for name in ("losses", "methods", "networks", "training")))


class Watching(Section):
    """What MLflow is shown beside the curves; no result depends on it."""

    example_every: int = Field(ge=0)


class Params(Section):
    """The method's parameters and the loop's, all top-level keys of params.yaml."""

    method: sc_cyclegan.Params
    settings: Settings
    watching: Watching = Watching(example_every=0)

    def logged(self) -> dict[str, Any]:
        """What the weights depend on, flat as in params.yaml, so that MLflow and DVC show the same names.

        The file of VGG16's weights is named by its SHA-256: its path says nothing and is this machine's.
        """
        method = self.method.model_dump(mode="json")
        vgg16 = self.method.structure and self.method.structure_loss == "sc_map"
        if vgg16 and self.method.structure_features == "vgg16":
            method["vgg16_weights"] = _require_file(Path(self.method.vgg16_weights))
        else:
            method["vgg16_weights"] = ""
        return method | self.settings.model_dump(mode="json")


def run(params: Params, source: Path, out: Path, work_root: Path) -> None:
    """Train, then write weights, history and model.json; errors of data and of training come through.

    Of several processes the first alone writes.
    """
    logged = params.logged()
    data = open_normalized(source)
    identity = folder_hash(source)
    key = fingerprint(METHOD, logged, identity)
    work = work_root / f"train-{key}-{code_hash(CODE, [f'torch {torch.__version__}'])[:16]}"

    def train(on_epoch: Callable[[Epoch], None]) -> Progress:
        return fit(lambda: sc_cyclegan.ScCycleGan(params.method), data, params.settings, work, on_epoch)

    with distributed.joined(choose_device(params.settings.device)):
        if distributed.rank() > 0:
            train(lambda epoch: None)
            return
        tracked = _start_tracking(logged, data, identity, key)
        try:
            done = train(_reporter(tracked, params, data))
        except BaseException:
            tracked.finish(failed=True)
            raise
    with output_folder(out) as folder:
        write_model(folder, params, data, done, key, identity)
    tracked.finish()
    for left in work_root.glob(f"train-{key}-*"):  # only now: the result is in place; older code's go as well
        shutil.rmtree(left, ignore_errors=True)


def write_model(
    folder: Path, params: Params, data: NormalizedData, done: Progress, key: str, identity: str
) -> None:
    """mr_to_ct.safetensors, ct_to_mr.safetensors, history.csv, model.json."""
    config = params.method.generator.model_dump()
    for direction, weights in done.best_weights.items():
        save_model(
            folder / f"{direction}.safetensors", METHOD, direction, weights, config, data.normalization
        )
    write_table(folder / "history.csv", pd.DataFrame(done.history))
    write_json(
        folder / "model.json",
        {
            "method": METHOD,
            "fingerprint": key,
            "data_sha256": identity,
            "params": params.logged(),
            "best_epoch": done.best_epoch,
            "best_validation": done.best_value,
            "normalization": data.normalization,
            "n_parameters": {
                name: sum(w.numel() for w in weights.values()) for name, weights in done.best_weights.items()
            },
            "n_pairs": data.pair_counts,
        },
    )


def _require_file(file: Path) -> str:
    """Its SHA-256; FileNotFoundError before any work is done."""
    if not file.is_file():
        raise FileNotFoundError(f"vgg16_weights: {file}: no such file; name the file of VGG16's weights")
    return file_hash(file)


def _start_tracking(logged: dict[str, Any], data: NormalizedData, identity: str, key: str) -> Run:
    tracked = Run(key, METHOD)
    tracked.params(logged | data.normalization)
    tracked.tags({"method": METHOD, "data.sha256": identity} | origin_tags())
    return tracked


def _reporter(tracked: Run, params: Params, data: NormalizedData) -> Callable[[Epoch], None]:
    """Logs each epoch once: its losses and validation errors, speed, use of the machine, and pictures."""
    known, usage, every = tracked.logged_steps("epoch"), Usage(), params.watching.example_every

    def report(epoch: Epoch) -> None:
        step = int(epoch.row["epoch"])
        if step in known:  # an equal run before this one has logged it
            return
        tracked.metrics(epoch.row | {"images_per_second": epoch.images_per_second} | usage.read(), step)
        if every and (step % every == 0 or step in (1, params.settings.epochs)):
            device = choose_device(params.settings.device)
            tracked.image("examples", example_sheet(epoch.networks, data, device), step)

    return report


def main() -> None:
    """Run the stage on the project's folders."""
    params = Params(method=load(sc_cyclegan.Params), settings=load(Settings), watching=load(Watching))
    run(params, Path("data/normalized"), Path("models") / METHOD, Path(".work"))


if __name__ == "__main__":
    run_stage("stages.train")
