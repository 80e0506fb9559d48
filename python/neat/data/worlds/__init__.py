"""Small worlds of tiles: puzzles with exact answers, told in text and drawn as images of codes."""
