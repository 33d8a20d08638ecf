"""Tables on standard output."""

from collections.abc import Sequence


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """For people on a terminal; for programs, one line a row."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    for row in rows:
        # As text, since a name may hold what would be markup.
        table.add_row(*map(Text, row))
    console = Console(highlight=False)
    # Whole lines where a program reads them.
    console = console if console.is_terminal else Console(highlight=False, width=1000)
    console.print(table, soft_wrap=not console.is_terminal)
