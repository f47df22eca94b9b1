"""Rigid registration of a CT and an MR of one head, resampling of the pair, its quality, and defacing.

What the stage `register` uses:

- `alignment`: `make_pair`, `register_pair` and `align`, with the values `HeadPair`, `RigidRegistration` and
  `AlignedPair`; `measure` gives a `RegistrationQuality`.
- `deface`: `face_plane`, `remove_face`, `DefaceError`.
- `head`: `RegistrationError`.
"""
