"""What the tests build their cases from: tiny networks, a tiny corpus, slow references."""
