"""Evaluation by the field's protocol, on pictures and folders; comparison page of plain and collaborative."""

from hcd.evaluate.comparison import Comparison, compare
from hcd.evaluate.measurement import Measurement, Row, benchmark_crop, measure
from hcd.evaluate.protocol import Report, evaluate_folder, settings_of

__all__ = [
    "Comparison",
    "Measurement",
    "Report",
    "Row",
    "benchmark_crop",
    "compare",
    "evaluate_folder",
    "measure",
    "settings_of",
]
