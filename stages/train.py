"""train: one method, named on the command line.  data/normalized, data/methods/<method>.json -> models/<method>

Trains on the training pairs and chooses the epoch of each direction by the validation patients; test patients are not
used. The reference methods `mean_ct` and `intensity_map` are fitted in one pass. An interrupted training continues
from its last epoch: its checkpoints are in .work, a folder that DVC does not track (DVC empties the outs of a stage
before it runs). To train one model with several processes, run `dvc repro configure`, then
`torchrun --nproc-per-node 2 -m stages.train sc_cyclegan`, then `dvc commit -f train@sc_cyclegan`.
"""

import sys
from pathlib import Path

from mrct.core.errors import DataError
from mrct.core.files import read_json
from mrct.core.params import PARAMS_FILE, Execution, load
from mrct.core.runner import run_stage
from mrct.methods.registry import load_method
from mrct.training.configuration import Configuration, load_configuration
from mrct.training.run import train

CONFIGURED = Path("data/methods")
SOURCE = Path("data/normalized")


def configured(name: str, folder: Path, file: Path = PARAMS_FILE) -> Configuration:
    """Return the parameters of a method.

    Raises:
        DataError: They differ from those that the stage configure wrote, by which DVC decides what is up to date.
    """
    configuration = load_configuration(name, load_method(name), file)
    written = folder / f"{name}.json"
    if not written.is_file() or read_json(written) != configuration.keys:
        raise DataError(
            f"{written}: missing, or not the parameters of {file}; run  dvc repro configure  and then train again"
        )
    return configuration


def main() -> None:
    """Train the method that is named as the only argument."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m stages.train METHOD")
    name = sys.argv[1]
    example_every = load(Execution).example_every
    train(configured(name, CONFIGURED), SOURCE, Path("models") / name, Path(".work"), example_every)


if __name__ == "__main__":
    run_stage("stages.train")
