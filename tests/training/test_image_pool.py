"""Tests of the pool against CycleGAN's description, and of its state."""

import pytest
import torch

from mrct.training.step import ImagePool


def numbered(start: int, count: int) -> torch.Tensor:
    return torch.arange(start, start + count).float().view(-1, 1, 1, 1)


def test_while_there_is_room_the_discriminator_sees_the_newest():
    pool, rng = ImagePool(4), torch.Generator().manual_seed(0)
    assert torch.equal(pool.exchange(numbered(0, 3), rng), numbered(0, 3))
    assert len(pool.images) == 3


def test_then_half_are_swapped_for_an_older_image_that_leaves_the_pool():
    pool, rng = ImagePool(50), torch.Generator().manual_seed(0)
    pool.exchange(numbered(0, 50), rng)
    held, older = set(range(50)), 0
    for number in range(50, 1050):
        shown = int(pool.exchange(numbered(number, 1), rng))
        if shown != number:
            assert shown in held
            held = held - {shown} | {number}
            older += 1
        assert held == {int(image) for image in pool.images}
    assert 440 < older < 560  # binomial(1000, 1/2) leaves this once in 7000 times


@pytest.mark.parametrize("seed", range(3))
def test_no_pool_shows_every_image_and_draws_nothing(seed):
    pool, rng = ImagePool(0), torch.Generator().manual_seed(seed)
    before = rng.get_state()
    assert torch.equal(pool.exchange(numbered(0, 5), rng), numbered(0, 5))
    assert torch.equal(rng.get_state(), before)


def test_its_images_are_its_state_and_its_own():
    pool, rng = ImagePool(2), torch.Generator().manual_seed(3)
    batch = numbered(0, 2)
    pool.exchange(batch, rng)
    batch.zero_()
    assert [int(image) for image in pool.images] == [0, 1]
    later = numbered(2, 20)
    pool.exchange(later, rng)
    later.zero_()
    assert all(int(image) > 1 for image in pool.images)
    again = ImagePool(2, torch.stack(pool.images))
    more = (
        (numbered(2, 20), torch.Generator().manual_seed(4)),
        (numbered(2, 20), torch.Generator().manual_seed(4)),
    )
    assert torch.equal(pool.exchange(*more[0]), again.exchange(*more[1]))
