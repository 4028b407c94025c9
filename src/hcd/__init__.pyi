from .collab import PRESETS as PRESETS
from .collab import Result as Result
from .collab import Settings as Settings
from .collab import collaborate as collaborate
from .errors import HcdError as HcdError
from .metrics import psnr as psnr
from .metrics import ssim as ssim
from .ops import quantize as quantize
from .pipeline import downscale_file as downscale_file
from .pipeline import upscale_file as upscale_file
from .rescaler import Rescaler as Rescaler
from .zoo import load as load

__version__: str
