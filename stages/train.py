"""train: scCycleGAN, both directions.  data/normalized -> models/sc_cyclegan

Trains on the training pairs, chooses each direction's epoch by the validation patients, never sees a test
patient. A killed run goes on from its last epoch: checkpoints lie in .work/train-<fingerprint>, a folder
DVC does not know (it empties a stage's outs before it runs), so another λ can never resume this run.
"""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from mrct.files import output_folder, write_json, write_table
from mrct.inference.model import save_model
from mrct.methods import sc_cyclegan
from mrct.params import Section, load
from mrct.runner import run_stage
from mrct.tracking import Run, experiment_tags
from mrct.training.dataset import NormalizedData, open_normalized
from mrct.training.engine import Progress, Settings, fit
from mrct.training.fingerprint import data_hash, fingerprint

METHOD = "sc_cyclegan"


class Params(Section):
    """The method's parameters and the loop's, both top-level keys of params.yaml."""

    method: sc_cyclegan.Params
    settings: Settings

    def logged(self) -> dict[str, Any]:
        """As in params.yaml: one flat level, so that MLflow and DVC show the same names."""
        return self.method.model_dump(mode="json") | self.settings.model_dump(mode="json")


def run(params: Params, source: Path, out: Path, work_root: Path) -> None:
    """Train, then write weights, history and model.json; errors of data and of training come through."""
    data = open_normalized(source)
    identity = data_hash(source)
    key = fingerprint(METHOD, params.logged(), identity)
    tracked = _start_tracking(params, data, identity, key)
    work = work_root / f"train-{key}"
    try:
        done = fit(
            lambda: sc_cyclegan.ScCycleGan(params.method),
            data,
            params.settings,
            work,
            on_epoch=lambda row: tracked.metrics(row, step=int(row["epoch"])),
        )
    except BaseException:
        tracked.finish(failed=True)
        raise
    with output_folder(out) as folder:
        write_model(folder, params, data, done, key, identity)
    tracked.finish()
    shutil.rmtree(work, ignore_errors=True)  # only now: the result is in place


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


def _start_tracking(params: Params, data: NormalizedData, identity: str, key: str) -> Run:
    tracked = Run(key, METHOD)
    tracked.params(params.logged() | data.normalization)
    tracked.tags({"method": METHOD, "data.sha256": identity} | experiment_tags())
    return tracked


def main() -> None:
    """Run the stage on the project's folders."""
    params = Params(method=load(sc_cyclegan.Params), settings=load(Settings))
    run(params, Path("data/normalized"), Path("models") / METHOD, Path(".work"))


if __name__ == "__main__":
    run_stage("stages.train")
