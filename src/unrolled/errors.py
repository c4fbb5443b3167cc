"""The errors that unrolled raises: each says what was found, what was expected and what to do."""


class UnrolledError(Exception):
    """The base of every error that unrolled raises on purpose.

    Its message is written for the person who can act on it; the command line prints it as one line
    and exits with status 2.
    """


class ShapeError(UnrolledError, ValueError):
    """A tensor does not have the shape, the type or the device that the call needs."""


class CaptureError(UnrolledError):
    """A cell's step cannot be turned into one program for all steps."""


class ProgramError(UnrolledError):
    """A program breaks a rule of its operations, or its text cannot be read."""


class BackendError(UnrolledError):
    """A backend is unknown, or cannot run here or cannot run this cell."""


class ConfigError(UnrolledError, ValueError):
    """A setting is unknown, out of its range, or contradicts another."""


class DataError(UnrolledError, ValueError):
    """A file of data cannot be used; the message names the file, the line and the reason."""


class RunError(UnrolledError):
    """A run folder or a checkpoint is missing, damaged, or in the way."""
