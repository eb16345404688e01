"""``python -m budwood`` is the ``budwood`` command."""

from budwood.cli.main import main

main()
