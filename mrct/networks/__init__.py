"""Networks as pure torch modules, and how they are applied to whole volumes.

- 2D: `resnet.ResnetGenerator`, `unet.UNet`, `patchgan.PatchDiscriminator`.
- 3D: `context3d.ContextChain`, `swin3d.SwinGenerator`, `patchgan3d.PairDiscriminator3d`.
- Fixed features of a structure loss: `random_features.RandomConvFeatures`, `vgg16.Vgg16Features`.
- `whole_volume.translate` applies any of them to a volume; `sliding_window` takes volumes apart into cubes.
"""
