"""Clan execution: the account ledger, its state tree, the order within a block, signed roots (protocol.md 2.7)."""
