"""Which series of a patient are wanted: rules reject series, and a choice is made among the others.

What other packages use:

- `mrct.selection.classify`: `RULES`, the table of all rules in their order, each with its name and what it rejects;
  `classify`, the verdict of the rules about one series.
- `mrct.selection.parameters`: `Rules`, the parameters of a selection (the section `select` of params.yaml).
- `mrct.selection.choose`: `choose`, one CT and one MR of a patient, with a decision about each series.
- `mrct.selection.explain`: `explain_empty`, why no patient has both images, and which parameter admits more.
- `mrct.selection.table`: `series_row`, a decision as a row of series.csv.

To find out why a series is rejected: series.csv and `mrct check` name the rule and give the reason, `classify.RULES`
says what the rule means, and the function of that row, in mrct/selection/rules.py, shows how it decides.
"""
