"""Train and evaluate (steps 4 and 5), and predict: everything between a feature table and a table of predictions."""
