"""`python -m neat COMMAND` does the same as `neat COMMAND`."""

import sys

from neat.cli import main

if __name__ == "__main__":
    sys.exit(main())
