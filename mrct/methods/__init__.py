"""The methods, one module per published system, with its parameters, its networks and the weighted sum of its losses.

`registry.METHODS` names them, `registry.load_method` imports one. `mrct.training.method` says what a method is.
"""
