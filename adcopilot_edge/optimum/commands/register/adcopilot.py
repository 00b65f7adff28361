"""``optimum-cli export adcopilot``, in the folder where optimum looks for commands of others.

An installation puts this file into ``optimum/commands/register``, optimum's own namespace. No
``__init__.py`` may lie on the way to it: that would hide optimum. optimum-cli imports it at every
start, so it is light.
"""

from __future__ import annotations

from argparse import REMAINDER, ArgumentParser

from optimum.commands.base import BaseOptimumCLICommand, CommandInfo
from optimum.commands.export.base import ExportCommand


class ADCopilotExportCommand(BaseOptimumCLICommand):
    """Hands the words behind its name on, ``--help`` among them."""

    COMMAND = CommandInfo(
        name="adcopilot",
        help="Export AD-Copilot to a bundle of ONNX graphs, quantized if asked, with its proof.",
    )

    @staticmethod
    def parse_args(parser: ArgumentParser) -> None:
        """Take every word as it stands."""
        parser.prefix_chars = ""  # with no character to begin with, no word is an option
        parser.add_argument("words", nargs=REMAINDER)

    def run(self) -> None:
        """Run the export and exit the process."""
        from adcopilot_edge.alias import export_by_alias

        export_by_alias(self.args.words)


REGISTER_COMMANDS = [(ADCopilotExportCommand, ExportCommand)]
