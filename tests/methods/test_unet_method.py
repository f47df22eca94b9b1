"""The U-Net as a method: its loss on the paper's scales, its directions, and that every key does something."""

import pytest
import torch
from torch import nn

from mrct.core.params import ParamsError, load_parts, parse
from mrct.methods.unet import UnetParams, UnetTranslation
from mrct.training.settings import Loop

BASE = load_parts((UnetParams, Loop), "unet")[0].model_copy(update={"filters": 2})


def made(seed: int = 0, **changes) -> nn.Module:
    torch.manual_seed(seed)
    return UnetTranslation.build(BASE.model_copy(update=changes), "training", {})


class Table(nn.Module):
    """Gives fixed images back, so that a loss can be computed by hand."""

    def __init__(self, images: torch.Tensor) -> None:
        super().__init__()
        self.images = images

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.images


def test_the_loss_is_the_papers_on_its_own_scales(images, losses):
    """MAE of [0, 1] images, plus 1e-7 times the GDL of 16-bit images (eqs. 1 to 5), from plain numbers."""
    method = made(lambda_gdl=1.0e-7, gdl_scale=65535.0)
    method.mr_to_ct = Table(images.ct + 0.2 * images.mr)
    ((loss, terms),) = losses(method, images)
    error = 0.2 * images.mr.double() / 2
    mae = error.abs().mean()
    rows, columns = (torch.diff(error * 65535, dim=axis).square().sum() for axis in (2, 3))
    gdl = (rows + columns) / (2 * error.numel())
    assert float(terms["mae_ct"]) == pytest.approx(float(mae), rel=1e-5)
    assert float(terms["gdl_ct"]) == pytest.approx(float(gdl), rel=1e-4)
    assert float(loss) == pytest.approx(float(mae + 1e-7 * gdl), rel=1e-4)


def test_without_weight_there_is_no_gradient_term(images, losses):
    ((loss, terms),) = losses(made(lambda_gdl=0.0), images)
    assert set(terms) == {"mae_ct"}
    assert float(loss) == float(terms["mae_ct"])


@pytest.mark.parametrize(
    ("directions", "terms"), [(("mr_to_ct",), {"mae_ct"}), (("ct_to_mr",), {"mae_mr"}),
                              (("mr_to_ct", "ct_to_mr"), {"mae_ct", "mae_mr"})],
    ids=["mr_to_ct", "ct_to_mr", "both"],
)  # fmt: skip
def test_it_makes_the_directions_that_are_asked_for(images, losses, directions, terms):
    method = made(directions=directions)
    assert set(method.generators()) == set(directions)
    ((_, found),) = losses(method, images)
    assert set(found) == terms


def test_each_direction_reads_the_other_side(images, losses):
    method = made(directions=("mr_to_ct", "ct_to_mr"))
    for direction in method.params.directions:
        setattr(method, direction, nn.Identity())
    ((_, terms),) = losses(method, images)
    assert float(terms["mae_ct"]) == pytest.approx(float((images.mr - images.ct).abs().mean() / 2))
    assert float(terms["mae_mr"]) == pytest.approx(float(terms["mae_ct"]))


@pytest.mark.parametrize(
    ("key", "value"),
    [("learning_rate", 2e-3), ("adam_betas", (0.9, 0.9)), ("filters", 3), ("dropout", 0.1),
     ("lambda_gdl", 1e-7), ("directions", ("mr_to_ct", "ct_to_mr"))],
    ids=["learning_rate", "adam_betas", "filters", "dropout", "lambda_gdl", "directions"],
)  # fmt: skip
def test_every_key_changes_the_weights(images, trained, key, value):
    usual = trained(made(), images, 3).state_dict()
    changed = trained(made(**{key: value}), images, 3).state_dict()
    assert usual.keys() != changed.keys() or any(not torch.equal(usual[n], changed[n]) for n in usual)
    again = trained(made(), images, 3).state_dict()
    assert all(torch.equal(usual[n], again[n]) for n in usual)  # or the line above could not fail


def test_the_scale_of_the_gradient_term_changes_the_weights(images, trained):
    scales = [trained(made(lambda_gdl=1e-7, gdl_scale=s), images, 3).state_dict() for s in (65535.0, 255.0)]
    assert any(not torch.equal(scales[0][n], scales[1][n]) for n in scales[0])


def test_it_learns(images, losses, trained):
    method = made(filters=4, dropout=0.0, learning_rate=3e-3)
    before = float(losses(method, images)[0][0])
    assert float(losses(trained(method, images, 40), images)[0][0]) < 0.4 * before


def test_the_optimizer_is_the_papers():
    (optimizer,) = made().optimizers().values()
    assert type(optimizer) is torch.optim.Adam
    assert (optimizer.defaults["lr"], optimizer.defaults["betas"]) == (BASE.learning_rate, BASE.adam_betas)


def test_a_network_is_built_again_from_its_configuration():
    method = made()
    network = UnetTranslation.build_network(UnetTranslation.network_config(BASE))
    network.load_state_dict(method.generators()["mr_to_ct"].state_dict())
    x = torch.rand(1, 1, 32, 32)
    with torch.inference_mode():
        assert torch.equal(network.eval()(x), method.generators()["mr_to_ct"].eval()(x))


def test_one_phase():
    assert [phase.name for phase in UnetTranslation.phases(BASE)] == ["training"]


@pytest.mark.parametrize(
    ("directions", "message"),
    [(["mr_to_pet"], "did you mean 'mr_to_ct'"), ([], "at least 1"), (["mr_to_ct"] * 2, "named twice")],
    ids=["unknown", "none", "twice"],
)
def test_a_wrong_direction_is_an_error_before_any_work(directions, message):
    with pytest.raises(ParamsError, match=message):
        parse(UnetParams, BASE.model_dump() | {"directions": directions}, "params.yaml: unet")
