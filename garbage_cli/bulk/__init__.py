"""Millions of photos answered by many machines: in partitions, one predictor per worker, over Ray Data.

Knows partitions, stores of objects and Ray. Does not know the terminal.
"""
