"""The ids a model reads: the 256 bytes, then eight special ids."""

BOS = 256
EOS = 257
PAD = 258
BOI = 259
EOI = 260
IMG = 261
SEP = 262

IMAGE_BEGINS = 256
"""Class of the byte head, and target, that says that an image comes next; exists with images only."""

NUM_BYTES = 256
NUM_IDS = 264

FIRST_CODE = NUM_IDS
"""Image code 0 where a document is one sequence of symbols: bytes, BOI, codes, EOI. No id that a model reads."""
