"""The command line `interlake`. Modules import what is heavy only inside the command that needs it."""
