"""The executable: it is ``auricle``, and the Python that ``auricle`` starts its other processes with.

Auricle starts engines and servers as ``sys.executable -m …``, and in a frozen program ``sys.executable`` is itself.
"""

import sys


def main() -> None:
    """Be what the arguments say."""
    match sys.argv[1:]:
        case ["-P", "-m", "auricle.engines.worker"]:
            from auricle.engines.worker import main as run_engine  # noqa: PLC0415

            sys.exit(run_engine())
        case ["-m", "auricle", *arguments]:
            sys.argv[1:] = arguments
        case _:
            pass
    from auricle.cli.main import main as run_command  # noqa: PLC0415  an engine does not need it

    run_command()


if __name__ == "__main__":
    main()
