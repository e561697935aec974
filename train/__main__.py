"""`python -m train RECIPE`, and the commands beside it."""

from importlib import import_module

import click

from .commands import CONTEXT, run_command
from .recipe import recipe_names, recipe_path

# By name: the module whose `command` it is, imported when it is used.
_COMMANDS = {
    "manifest": ("data.manifest_command", "List the films of one or several data sets."),
    "sheet": ("learn.sheet", "Draw films as they are and as a recipe augments them."),
    "recover": ("learn.recover", "Make a checkpoint of an fp32 model, to train it further."),
    "average": ("learn.average", "Average the weights of several runs."),
    "evaluate": ("measure.evaluate", "Measure a checkpoint or an ONNX model on labelled films."),
    "evidence": ("measure.dossier.command", "All that one run can tell of a model, as one page."),
    "negatives": ("negatives.command", "Made images that must be refused, as files."),
    "stress": ("measure.stress", "Disturb films one way at a time."),
    "blackout": ("measure.blackout", "Ask what is left of a result with the lungs blacked out."),
}


class _Commands(click.Group):
    """The commands above, and each recipe by its name or its file."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return [*recipe_names(), *_COMMANDS]

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _COMMANDS:
            module = import_module(f".{_COMMANDS[cmd_name][0]}", __package__)
            return module.command
        path = recipe_path(cmd_name)
        if path is None:
            return None
        from .run import train_command  # torch takes seconds to import

        return train_command(cmd_name, path)

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from .recipe import FOLDER, read_recipe

        with formatter.section("Recipes"):
            titles = [(name, read_recipe(FOLDER / f"{name}.toml").title) for name in recipe_names()]
            formatter.write_dl(titles)
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(
    cls=_Commands,
    context_settings=CONTEXT,
    subcommand_metavar="RECIPE|COMMAND [OPTIONS]",
    epilog="""\b
Example:
  python -m train pneumonia --data chest_xray/ --out runs/first
  python -m train pneumonia --help
  python -m train my-site.toml --data films/ --out runs/site
""",
)
def command() -> None:
    """Train networks from recipes, and look at what they learned.

    RECIPE is one of those below or your own .toml file.
    """


if __name__ == "__main__":
    run_command(command, "python -m train")
