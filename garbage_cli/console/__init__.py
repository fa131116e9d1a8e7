"""What people see: bars, tables, bins in their colours, JSON, the error line.

Knows rich. Does not know how values are made. One module per command or pair of commands, so that `predict` does not
load what `train` shows.
"""
