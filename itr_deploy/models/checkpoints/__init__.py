"""Safe reading of published checkpoints: tensors and plain values only, never code.

`load_checkpoint` gives every family the same form, whatever wrapped the model while it was trained.
"""

from itr_deploy.models.checkpoints.options import option
from itr_deploy.models.checkpoints.reading import load_checkpoint
from itr_deploy.models.checkpoints.states import another_model, state_dict, state_dicts
from itr_deploy.models.checkpoints.weight_norm import without_weight_norm
from itr_deploy.models.checkpoints.weights import build_loaded, load_weights

__all__ = [
    "another_model",
    "build_loaded",
    "load_checkpoint",
    "load_weights",
    "option",
    "state_dict",
    "state_dicts",
    "without_weight_norm",
]
