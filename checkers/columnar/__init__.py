"""Judging traces of millions of records: columns find the suspects, the rule of the checker itself judges these.

A checker names its module here in `Judge.columnar`. The module's `judge(wide)` counts on columns what the checker
counts record by record, picks out every record that could be part of an anomaly with all that it is compared with, and
hands these to the functions that judge small traces as well. What it leaves out must be unable to be an anomaly; what
it picks out needlessly costs time only. tests/property/test_columnar.py compares both ways on random runs.
"""
