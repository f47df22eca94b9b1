"""params.yaml is strict: types hold, a mistyped key is an error that names the right one."""

from pathlib import Path

import pytest

from mrct.core.params import ParamsError, Section, load, load_parts, parse, read_yaml


class Inner(Section):
    filters: int


class Outer(Section):
    rate: float
    betas: tuple[float, float]
    inner: Inner


GOOD = {"rate": 1, "betas": [0.5, 0.9], "inner": {"filters": 4}}


def test_lists_become_tuples_and_whole_numbers_serve_as_floats():
    params = parse(Outer, GOOD, "x")
    assert params.betas == (0.5, 0.9)
    assert hash(params.inner)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rates": 2.0}, "did you mean 'rate'"),
        ({"rate": "1e-4"}, "rate = '1e-4'"),
        ({"inner": {"filter": 4}}, "did you mean 'filters'"),
        ({"inner": {"filters": 4.5}}, "inner.filters"),
    ],
)
def test_errors_name_key_value_and_nearest(change, message):
    with pytest.raises(ParamsError, match=message):
        parse(Outer, GOOD | change, "params.yaml")


@pytest.mark.parametrize("text", ["1e-05", "1e5", "-2E+3", "+1e0", "1.0e-4", "3"])
def test_numbers_as_dvc_writes_them_are_numbers(tmp_path, text):
    """`dvc exp run -S rate=0.00001` writes 1e-05, which YAML 1.1 reads as text."""
    (tmp_path / "params.yaml").write_text(f"rate: {text}\nname: 1e-05x\nlist: [{text}]\n")
    content = read_yaml(tmp_path / "params.yaml")
    assert content == {"rate": float(text), "name": "1e-05x", "list": [float(text)]}


def test_missing_file_and_section(tmp_path):
    with pytest.raises(ParamsError, match="root of the project"):
        load(Inner, path=tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("registr: {}\n")
    with pytest.raises(ParamsError, match="did you mean 'registr'"):
        load(Inner, "register", tmp_path / "params.yaml")


def test_a_key_that_no_stage_reads_is_an_error(tmp_path):
    stages = "stages: {configure: {params: [lambda_pix, generator.filters, inner, unet]}}"
    (tmp_path / "dvc.yaml").write_text(stages)
    good = "lambda_pix: 100\ngenerator: {}\ninner: {filters: 4}\nunet: {}\n"
    (tmp_path / "params.yaml").write_text(good)
    assert load(Inner, "inner", tmp_path / "params.yaml").filters == 4
    (tmp_path / "params.yaml").write_text(good + "batch: {}\n")
    with pytest.raises(ParamsError, match="unknown key 'batch'"):
        load(Inner, "inner", tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text(good + "lamda_pix: 50\n")
    with pytest.raises(ParamsError, match="unknown key 'lamda_pix'; did you mean 'lambda_pix'"):
        load(Inner, "inner", tmp_path / "params.yaml")


class Epochs(Section):
    epochs: int


def test_a_section_is_shared_out_by_its_keys(tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text("unet: {filters: 4, epochs: 3}\n")
    assert load_parts((Inner, Epochs), "unet", file) == (Inner(filters=4), Epochs(epochs=3))
    file.write_text("unet: {filters: 4, epoch: 3}\n")
    with pytest.raises(ParamsError, match="unet: unknown key 'epoch'; did you mean 'epochs'"):
        load_parts((Inner, Epochs), "unet", file)
    file.write_text("unet: {filters: 4}\n")
    with pytest.raises(ParamsError, match=r"unet: epochs.*Field required"):
        load_parts((Inner, Epochs), "unet", file)
    with pytest.raises(ParamsError, match="no section 'pix2pix'"):
        load_parts((Inner, Epochs), "pix2pix", file)


def test_no_number_of_params_yaml_was_read_as_text():
    """A number read as text is refused by every stage, and -S could not set such a key."""

    def leaves(value):
        if isinstance(value, dict):
            for item in value.values():
                yield from leaves(item)
        elif isinstance(value, list):
            for item in value:
                yield from leaves(item)
        else:
            yield value

    for leaf in leaves(read_yaml(Path("params.yaml"))):
        assert leaf is not None
        if isinstance(leaf, str):
            with pytest.raises(ValueError, match="could not convert"):
                float(leaf)
