"""Using a trained model: loading, scoring, and what the numbers mean."""
