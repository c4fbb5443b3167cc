"""Items that cannot be used: the first one ends the reading, or they are left out and counted."""

from unrolled.errors import DataError


class Faults:
    """What was wrong with the items of a file.

    Args:
        skip: whether items at fault are left out; otherwise the first is an error.

    Example:
        >>> faults = Faults(skip=True)
        >>> faults.found("days.csv:7", "the label is empty")
        >>> faults.found("days.csv:9", "the label is empty")
        >>> faults.summary()
        '2 items are left out; the first: days.csv:7: the label is empty'
    """

    def __init__(self, skip: bool) -> None:
        self.skip, self.count, self.first = skip, 0, ""

    def found(self, where: str, reason: str) -> None:
        """Note a fault, or raise it as a DataError."""
        message = f"{where}: {reason}"
        if not self.skip:
            raise DataError(message)
        self.first = self.first or message
        self.count += 1

    def summary(self) -> str:
        """Say how many there were and which was the first; nothing if there were none."""
        words = "item is" if self.count == 1 else "items are"
        return f"{self.count:,} {words} left out; the first: {self.first}" if self.count else ""
