"""Registry of the methods, by the names that `methods` in params.yaml lists. A new method gets one line here."""

from pkgutil import resolve_name

from mrct.core.params import ParamsError, nearest
from mrct.training.method import Method

#: Name -> module and class. Only the methods that a run names are imported.
METHODS = {
    "sc_cyclegan": "mrct.methods.sc_cyclegan:ScCycleGan",
    "mean_ct": "mrct.methods.mean_ct:MeanCt",
    "intensity_map": "mrct.methods.intensity_map:IntensityMap",
    "unet": "mrct.methods.unet:UnetTranslation",
    "pix2pix": "mrct.methods.pix2pix:Pix2Pix",
    "context_gan3d": "mrct.methods.context_gan3d:ContextGan",
    "swin_pix2pix": "mrct.methods.swin_pix2pix:SwinPix2Pix",
}


def load_method(name: str) -> type[Method]:
    """Import a method's class.

    Raises:
        ParamsError: There is no method of that name.
    """
    if name not in METHODS:
        raise ParamsError(f"methods: no method {name!r}{nearest(name, METHODS)}")
    method = resolve_name(METHODS[name])
    if not (isinstance(method, type) and issubclass(method, Method)):
        raise TypeError(f"{METHODS[name]}: expected a subclass of mrct.training.method.Method")
    return method
