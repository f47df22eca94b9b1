"""Report: one HTML page with figures, made from the outputs of all stages.

Used by the stage `report` only:

- `inputs.read_inputs(folders, methods)` reads and checks the outputs of the other stages.
- `results.Comparison` compares every method with the reference method.
- `pictures` draws the figures into a folder.
- `page.content_of` and `page.render` make the page.
"""
