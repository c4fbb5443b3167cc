"""Checks of a cell, one of the zoo or your own, against the laws that every cell obeys."""

from unrolled.testing.check import Finding, Report, check_cell, check_law
from unrolled.testing.laws import LAWS
from unrolled.testing.reference import Subject, prepare

__all__ = ["LAWS", "Finding", "Report", "Subject", "check_cell", "check_law", "prepare"]
