"""A CRM world with a known hidden truth, written as a Salesforce weekly export: the sample data and the measuring stick.

`params` says what may be chosen, `dynamics` holds the laws of the world, `population` draws who lives in it, `world` runs
it, `truth` computes the exact probabilities the models should find, `salesforce_export` writes it all to disk.
Does not belong here: anything that reads exports, scores or decides.
"""
