"""Map CT and MR volumes to the images in [-1, 1] that the networks translate, and back.

Use `normalization.Normalization`: its `fit` places one patient's volume on the networks' grid and returns a
`VolumeNormalization`; `transform` and `inverse_transform` convert intensities; `to_json` and `from_json` write it into
manifests and model files and read it. `intensity.MrScaling` computes a display window or a scale of an MR array alone.
"""
