"""What gradient evaluations, solvers and receivers cost on this machine, against plain implementations."""

from hcd.bench.evaluation import EvaluationBenchmark, EvaluationReport, EvaluationRow, bench_evaluation, parse_size

__all__ = ["EvaluationBenchmark", "EvaluationReport", "EvaluationRow", "bench_evaluation", "parse_size"]
