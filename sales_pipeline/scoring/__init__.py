"""Apply: the scored table from predictions: score, grade, trend, expected value."""
