"""Benchmark protocol on folders, and plain against collaborative on one picture."""

from hcd.evaluate.comparison import Comparison, Figures, compare
from hcd.evaluate.jsontext import json_text
from hcd.evaluate.protocol import Report, Row, evaluate_folder

__all__ = ["Comparison", "Figures", "Report", "Row", "compare", "evaluate_folder", "json_text"]
