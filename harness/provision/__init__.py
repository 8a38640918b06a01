"""What a machine must have before a run: engine, node image, proxies; found or provided."""
