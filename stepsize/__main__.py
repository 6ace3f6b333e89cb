"""The `stepsize` command as `python -m stepsize`."""

from stepsize.cli import app

app(prog_name="stepsize")
