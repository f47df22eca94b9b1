"""Text burned into a picture, the way a workstation saves a key image."""

import numpy as np
from PIL import Image, ImageDraw


def burn_in(picture: np.ndarray, text: str) -> np.ndarray:
    """uint8 (H, W) -> the same with white text in its upper left corner, scaled to the picture."""
    label = Image.new("L", (6 * len(text) + 4, 12), 0)
    draw = ImageDraw.Draw(label)
    draw.fontmode = "1"  # no antialiasing: the same pixels with any font renderer
    draw.text((2, 0), text, fill=255)
    width = min(picture.shape[1] - 2, label.width)
    height = max(6, label.height * width // label.width)
    stamp = np.asarray(label.resize((width, height), Image.Resampling.NEAREST))
    burned = picture.copy()
    corner = burned[1 : 1 + height, 1 : 1 + width]
    np.maximum(corner, stamp[: corner.shape[0]], out=corner)
    return burned
