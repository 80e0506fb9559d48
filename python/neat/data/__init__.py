"""Text: sources, the n-gram model, patches and the stream of packed rows."""
