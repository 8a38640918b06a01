"""Bucketing without a mempool (protocol.md 2.5): primary and secondary buckets, batch building, receipts."""
