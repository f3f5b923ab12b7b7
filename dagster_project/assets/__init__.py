"""The assets, one module per step of the way: collect, prepare, select, train, evaluate, apply.

Each gets its inputs, calls the library and returns references with metadata. Libraries are imported inside the bodies, so that
definitions load at once; inputs are therefore typed only where the type is light.
"""
