"""Methods, one module per published system, with its parameters, networks and the weighted sum of its losses.

`registry.METHODS` names them, `registry.load_method` imports one. `mrct.training.method` defines what a method is.
"""
