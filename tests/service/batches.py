"""What the models of the batcher's tests compute, and the value that they refuse."""

TWICE, NEGATIVE = ("twice", "value"), ("negative", "value")
BAD = 666
