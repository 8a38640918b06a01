"""xRBC, full mode (protocol.md 2.3, 2.6): batches, availability votes, certificates, retrieval."""
