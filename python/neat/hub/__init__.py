"""Models for others: export, model card, upload, and reading what was published."""
