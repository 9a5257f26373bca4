"""Entry point of the command `slipway-runtime`. It handles signals before it imports anything that takes time."""

import sys

from slipway_runtime import stopping


def main() -> int:
    stopping.install()
    from slipway_runtime import cli  # noqa: PLC0415 - see above

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
