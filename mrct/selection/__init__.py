"""Selection of the wanted series of a patient: rules reject series, and one of the others is chosen per modality.

What other packages use:

- `mrct.selection.classify`: `RULES`, the table of all rules in their order, each with its name and what it rejects;
`classify` applies the rules to one series. - `mrct.selection.parameters`: `Rules`, the parameters of a selection (the
section `select` of params.yaml). - `mrct.selection.choose`: `choose` chooses one CT and one MR of a patient, with a
decision about each series. - `mrct.selection.chosen`: `choose_and_build` also builds and judges the
volumes of the chosen series, and takes the next best where that fails. - `mrct.selection.explain`: `explain_empty`
explains why no patient has both images, and which parameter admits more. - `mrct.selection.table`: `series_row` turns a
decision into a row of series.csv.

To find out why a series is rejected, look up its rule and reason in series.csv or in the output of `mrct check`.
`classify.RULES` says what the rule means. Its function in mrct/selection/rules.py shows how it decides.
"""
