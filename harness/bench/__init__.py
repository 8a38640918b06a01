"""Measurements. Each module has `figures()`: rows {"name", "value", "unit", "peer", "ratio"}, nothing printed."""
