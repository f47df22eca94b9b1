"""configure: the parameters of each method, checked before anything is trained.  params.yaml -> data/methods

Writes `<method>.json` for each name in `methods`: all parameters on which its weights depend. A missing, unknown or
wrong key raises an error here, before hours of training. The files tell DVC which methods a change of params.yaml
affects: `dvc exp run -S lambda_pix=50` changes only sc_cyclegan.json, so that only scCycleGAN is trained and evaluated
again.
"""

from pathlib import Path

from mrct.core.errors import DataError
from mrct.core.files import output_folder, write_json
from mrct.core.params import PARAMS_FILE, Section, load
from mrct.core.runner import run_stage
from mrct.methods.registry import load_method
from mrct.training.configuration import load_configuration

OUT = Path("data/methods")


class Params(Section):
    """The methods of the run, as a top-level key of params.yaml."""

    methods: tuple[str, ...]


def run(params: Params, out: Path, file: Path = PARAMS_FILE) -> None:
    """Write the parameters of every method.

    Raises:
        ParamsError: A method or one of its parameters is unknown or wrong.
        DataError: No method is named, or one is named twice.
    """
    if not params.methods or len(set(params.methods)) < len(params.methods):
        raise DataError(
            f"methods: got [{', '.join(params.methods)}]; expected different methods, as [sc_cyclegan, unet]"
        )
    with output_folder(out) as folder:
        for name in params.methods:
            write_json(folder / f"{name}.json", load_configuration(name, load_method(name), file).keys)


def main() -> None:
    """Run on the project's folders."""
    run(load(Params), OUT)


if __name__ == "__main__":
    run_stage("stages.configure")
