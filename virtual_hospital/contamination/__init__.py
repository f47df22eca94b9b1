"""Series that a real export holds beside the wanted ones: `kinds` lists them and says which patient has which.

- `everyday`: the seven kinds that most patients have.
- `mr_series` and `ct_series`: the rarer kinds. `mr.csv` describes the MR kinds, `appearance` how their images look.
"""
