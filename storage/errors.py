"""What can be wrong with a lake.

LakeError
├── NotALake       the folder is no lake, or one of another format
├── LakeBusy       another process holds it, and waiting ended
├── LakeDamaged    a file is missing or not what its hash says
├── NoRoom         the disk has less free than a version needs
├── TakenOver      another run claimed the slots of this one
└── NoSuchThing    a version, sample or call that is not there
"""


class LakeError(Exception):
    """Root of all errors about a lake; the message is one sentence for the user."""


class NotALake(LakeError):
    """The folder is no lake, or one that this code does not read."""


class LakeBusy(LakeError):
    """Another process holds the lake; the message says which one and since when."""


class LakeDamaged(LakeError):
    """A file is missing or does not hash to what was recorded; the message names it."""


class NoRoom(LakeError):
    """The disk has less free than a version needs; nothing was written."""


class TakenOver(LakeError):
    """A run seemed dead, and another one has claimed its slots; it may not commit them any more."""


class NoSuchThing(LakeError):
    """What was asked for by id or number is not in the lake."""
