"""Text on its way to the network: bundled samples and the stream of windows."""
