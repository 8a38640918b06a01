"""The wallet-facing gateway: checks, forwards, and tells the three finality phases (protocol.md 2.1, 2.5)."""
