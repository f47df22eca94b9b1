"""baseline: a system to compare with, named on the command line.  data/normalized -> models/<method>

Each name in `baselines` is a module of mrct/methods and a section of params.yaml. The reference methods
`mean_ct` and `intensity_map` are fitted on the training slices in one pass.
"""

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mrct.files import folder_hash, output_folder, write_json
from mrct.inference.model import save_model
from mrct.params import ParamsError, Section, load
from mrct.runner import run_stage
from mrct.training.dataset import open_normalized
from mrct.training.fingerprint import fingerprint


def load_method(name: str) -> Any:
    """The method's module; ParamsError when there is none of that name."""
    if not name.isidentifier() or find_spec(f"mrct.methods.{name}") is None:
        raise ParamsError(f"baselines: no method {name!r}; expected a module of mrct/methods, as mean_ct")
    return import_module(f"mrct.methods.{name}")


def run(name: str, params: Section, source: Path, out: Path) -> None:
    """Fit the method on the training pairs and write one model a direction."""
    data = open_normalized(source)
    pairs = ((data.patients[patient], k) for patient, k in data.split_pairs("train"))
    training = ((patient.mr[k], patient.ct[k], patient.mask[k]) for patient, k in pairs)
    fitted = load_method(name).fit(training, params)
    identity = folder_hash(source)
    key = fingerprint(name, params.model_dump(mode="json"), identity)
    with output_folder(out) as folder:
        for direction, (network, config) in fitted.items():
            save_model(
                folder / f"{direction}.safetensors",
                name,
                direction,
                network.state_dict(),
                config,
                data.normalization,
            )
        write_json(
            folder / "model.json",
            {
                "method": name,
                "fingerprint": key,
                "data_sha256": identity,
                "params": params.model_dump(mode="json"),
                "normalization": data.normalization,
                "n_pairs": data.pair_counts,
            },
        )


def main() -> None:
    """Run the stage for the method named as the only argument."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m stages.baseline METHOD")
    name = sys.argv[1]
    run(name, load(load_method(name).Params, name), Path("data/normalized"), Path("models") / name)


if __name__ == "__main__":
    run_stage("stages.baseline")
