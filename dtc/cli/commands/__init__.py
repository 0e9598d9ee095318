"""The commands, one file each: a module here that has a `command` is one.

All of them are imported for `dtc --help`, which has to answer at once: a module imports what runs its command inside
the functions that run it.
"""
