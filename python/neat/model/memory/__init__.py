"""The memory of a latent layer, which learns while it reads (Titans)."""
