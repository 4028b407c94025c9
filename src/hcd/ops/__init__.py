"""Pure tensor functions: color, resizing, rounding, padding, noise, projections."""

from hcd.ops.balls import NORMS, ball_norm, project_ball
from hcd.ops.color import rgb_to_y
from hcd.ops.crop import center_crop
from hcd.ops.noise import gaussian_field
from hcd.ops.pad import pad_to_multiple
from hcd.ops.resize import resize_bicubic
from hcd.ops.rounding import GRAY_LEVEL, quantize, straight_through

__all__ = [
    "GRAY_LEVEL",
    "NORMS",
    "ball_norm",
    "center_crop",
    "gaussian_field",
    "pad_to_multiple",
    "project_ball",
    "quantize",
    "resize_bicubic",
    "rgb_to_y",
    "straight_through",
]
