"""`python -m bench NAME [--json]`: a benchmark is a file here with a click command named `command`."""

from __future__ import annotations

import importlib
import pkgutil

import click

import bench


class Benchmarks(click.Group):
    """Finds the benchmarks by their files; imports only the one that is asked for.

    Files that begin with an underscore hold what benchmarks share.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the benchmarks."""
        found = pkgutil.iter_modules(bench.__path__)
        names = [module.name for module in found if not module.ispkg]  # rivals are no benchmark
        return sorted(name for name in names if not name.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of one benchmark, None for a name that is no benchmark."""
        if cmd_name not in self.list_commands(ctx):
            return None
        return importlib.import_module(f"bench.{cmd_name}").command


@click.command(cls=Benchmarks)
def main() -> None:
    """Measure Nearcast against its rivals. Machines differ: trust the ratios of one run."""


if __name__ == "__main__":
    main(prog_name="python -m bench")
