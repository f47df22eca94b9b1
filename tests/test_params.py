"""params.yaml is strict: types hold, a mistyped key is an error that names the right one."""

from pathlib import Path

import pytest
import yaml

from mrct.params import ParamsError, Section, load, parse


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


def test_missing_file_and_section(tmp_path):
    with pytest.raises(ParamsError, match="project's root"):
        load(Inner, path=tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("registr: {}\n")
    with pytest.raises(ParamsError, match="did you mean 'registr'"):
        load(Inner, "register", tmp_path / "params.yaml")


def test_a_key_that_no_stage_reads_is_an_error(tmp_path):
    (tmp_path / "dvc.yaml").write_text("stages: {train: {params: [lambda_pix, generator.filters, inner]}}")
    (tmp_path / "mrct/methods").mkdir(parents=True)
    (tmp_path / "mrct/methods/unet.py").touch()
    good = "lambda_pix: 100\ngenerator: {}\ninner: {filters: 4}\nunet: {}\n"
    (tmp_path / "params.yaml").write_text(good)
    assert load(Inner, "inner", tmp_path / "params.yaml").filters == 4
    (tmp_path / "params.yaml").write_text(good + "lamda_pix: 50\n")
    with pytest.raises(ParamsError, match="unknown key 'lamda_pix'; did you mean 'lambda_pix'"):
        load(Inner, "inner", tmp_path / "params.yaml")


def test_no_number_of_params_yaml_was_read_as_text():
    """YAML reads 1e-4 as a string; -S could not set such a key."""

    def leaves(value):
        if isinstance(value, dict):
            for item in value.values():
                yield from leaves(item)
        elif isinstance(value, list):
            for item in value:
                yield from leaves(item)
        else:
            yield value

    for leaf in leaves(yaml.safe_load(Path("params.yaml").read_text())):
        assert leaf is not None
        if isinstance(leaf, str):
            with pytest.raises(ValueError, match="could not convert"):
                float(leaf)
