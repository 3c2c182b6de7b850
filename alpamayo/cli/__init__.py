"""The command line: one thin module per command.

Each module has ``HELP`` (one line), ``add_arguments(parser)`` and ``run(args) -> exit code`` and is
imported only when its command was chosen; heavy imports stand inside functions, so that every
``--help`` is fast.
"""
