"""Every change of a notification's status and due time, by name; nothing else sets either.

Each module has the changes of the rows that it is named for:

- ``new``: rows before they are inserted. They begin, wait or end.
- ``waiting``: rows that no worker has. They are claimed, cancelled, parked, or due at another time.
- ``claimed``: rows that a worker has. They are deferred, ended, or settled by an attempt's outcome.
- ``finished``: rows that a provider took, or that ended. A receipt moves them on, and while their
  followers are called they may be due once more.

``table`` says which status may follow which. A change is a conditional update, and returns how many
rows, or which of them, it has changed; the others were somebody else's by then.
"""
