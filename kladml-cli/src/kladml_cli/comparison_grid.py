"""What differs between runs or configurations, as a grid with one column for each."""

from __future__ import annotations

from kladml_cli.terminal import echo, width


def print_grid(title: str, columns: list[str], rows: list[tuple[str, list[str]]]) -> None:
    """Print rows with one column for each run, or one line for each run where that is too wide."""
    echo()
    echo(title, bold=True)
    if not rows:
        return
    first = max(len(name) for name, _ in rows)
    sizes = [max(len(columns[index]), *(len(cells[index]) for _, cells in rows)) for index in range(len(columns))]
    if 2 + first + sum(sizes) + 2 * len(sizes) <= width():
        for name, cells in [("", columns), *rows]:
            line = "  ".join((f"{name:<{first}}", *(f"{c:<{s}}" for c, s in zip(cells, sizes, strict=True))))
            echo(f"  {line}".rstrip())
        return
    size = max(map(len, columns))
    for name, cells in rows:
        echo(f"  {name}")
        for column, cell in zip(columns, cells, strict=True):
            echo(f"    {column:<{size}}  {cell}")
