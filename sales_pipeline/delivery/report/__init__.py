"""The report of a run: one HTML file that needs nothing else, for people who look before they open a table.

`page.report_page` takes published tables and the model card and gives the page; each section is a module that turns tables into `blocks`, the
template knows blocks only. Belongs here: choosing, ordering, wording and drawing. Does not belong here: scores, forecasts, verdicts (the tables).
"""
