"""What gradient evaluations, solvers and receivers cost on this machine, against plain implementations."""

from hcd.bench.evaluation import EvaluationBenchmark, EvaluationReport, EvaluationRow, bench_evaluation
from hcd.bench.frontier import draw_frontier, figure_kind
from hcd.bench.pictures import BenchPicture, folder_pictures, sample_pictures
from hcd.bench.solver import BASELINE, Contestant, SolverMean, SolverReport, SolverRow, bench_solver, parse_contestant
from hcd.bench.subject import parse_blocks, parse_size
from hcd.bench.whole import WholeBenchmark, WholeReport, WholeRow, bench_whole

__all__ = [
    "BASELINE",
    "BenchPicture",
    "Contestant",
    "EvaluationBenchmark",
    "EvaluationReport",
    "EvaluationRow",
    "SolverMean",
    "SolverReport",
    "SolverRow",
    "WholeBenchmark",
    "WholeReport",
    "WholeRow",
    "bench_evaluation",
    "bench_solver",
    "bench_whole",
    "draw_frontier",
    "figure_kind",
    "folder_pictures",
    "parse_blocks",
    "parse_contestant",
    "parse_size",
    "sample_pictures",
]
