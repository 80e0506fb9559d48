"""Small tasks that need no download: items made from a seed, or cut from held-out text, with exact answers."""
