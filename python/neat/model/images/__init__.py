"""Images as codes between bytes (MVoT): codecs, embedding, head, and the grammar of writing them."""
