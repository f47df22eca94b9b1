"""CycleGAN's history of synthetic images (Shrivastava 2017; Zhu 2017, sec. 4): discriminators see older ones as well."""

import torch
from torch import Tensor


class ImagePool:
    """Holds up to `size` images; all of its state is in `images`, its randomness comes from outside."""

    def __init__(self, size: int, images: Tensor | None = None) -> None:
        self.size = size
        self.images: list[Tensor] = [] if images is None else list(images)

    def exchange(self, images: Tensor, rng: torch.Generator) -> Tensor:
        """(B, ...) -> (B, ...) for the discriminator; stores while there is room, then swaps every second image."""
        shown = []
        for image in images:
            if len(self.images) < self.size:
                self.images.append(image.clone())
            elif self.size and float(torch.rand(1, generator=rng)) < 0.5:
                place = int(torch.randint(self.size, (1,), generator=rng))
                image, self.images[place] = self.images[place], image.clone()
            shown.append(image)
        return torch.stack(shown)
