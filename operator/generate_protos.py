"""Writes slipway/activator/keda/_generated from KEDA's definition and our own; run it after each change."""

import sys
from pathlib import Path

from grpc_tools import protoc

HERE = Path(__file__).parent
PACKAGE = "slipway/activator/keda/_generated"
PROTOS = ("externalscaler.proto", "peers.proto")


def plugin(name: str) -> str:
    """A protoc plugin from the environment that runs this script, on whatever PATH."""
    return f"--plugin={name}={Path(sys.executable).parent / name}"


def main() -> int:
    return protoc.main(
        [
            "protoc",
            # The definitions are shown to protoc at the place of their Python package: the generated imports then are
            # `from slipway.activator.keda._generated import …`, and need no editing afterwards.
            f"--proto_path={PACKAGE}={HERE / 'slipway/activator/keda'}",
            plugin("protoc-gen-mypy"),
            plugin("protoc-gen-mypy_grpc"),
            *(f"--{output}_out={HERE}" for output in ("python", "grpc_python")),
            f"--mypy_out=quiet:{HERE}",
            f"--mypy_grpc_out=quiet,only_async:{HERE}",
            *(f"{PACKAGE}/{proto}" for proto in PROTOS),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
