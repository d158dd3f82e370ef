# Written by tools/write_stubs.py.

from glassgrad import init as init, losses as losses, nn as nn, ops as ops, optim as optim
from glassgrad.autodiff.sweeps import (
    gradient as gradient,
    hessian_vector_product as hessian_vector_product,
    jvp as jvp,
    vjp as vjp,
)
from glassgrad.backends.native.driver.inspect import inspect as inspect
from glassgrad.common.errors import (
    GlassgradError as GlassgradError,
    GraphError as GraphError,
    InputError as InputError,
)
from glassgrad.common.version import __version__ as __version__
from glassgrad.data.dataset import Dataset as Dataset, from_arrays as from_arrays, from_table as from_table
from glassgrad.data.sources import load_source as load_source
from glassgrad.diagnosis.core.findings import Diagnosis as Diagnosis
from glassgrad.diagnosis.diagnose import diagnose as diagnose
from glassgrad.explain.explain import explain_derivative as explain_derivative
from glassgrad.graph.node import Graph as Graph
from glassgrad.nn.network import (
    Input as Input,
    Network as Network,
    Sequential as Sequential,
    functional as functional,
)
from glassgrad.ops.op import make_input as make_input
from glassgrad.program import Program as Program
from glassgrad.training.callbacks import (
    AveragedModel as AveragedModel,
    Callback as Callback,
    EarlyStopping as EarlyStopping,
    MaxTime as MaxTime,
)
from glassgrad.training.check import check_derivative as check_derivative
from glassgrad.training.lenses import Lenses as Lenses, read_lenses as read_lenses
from glassgrad.training.many import train_many as train_many
from glassgrad.training.model import Model as Model, load_model as load_model
from glassgrad.training.own_step import (
    CompiledStep as CompiledStep,
    StepInputs as StepInputs,
    compile_step as compile_step,
)
from glassgrad.training.perceptron import Perceptron as Perceptron
from glassgrad.training.register import register as register
from glassgrad.training.replay import replay as replay
from glassgrad.training.run import Progress as Progress, Run as Run
from glassgrad.training.settings import Settings as Settings
from glassgrad.training.train import train as train
from glassgrad.training.trainer import Trainer as Trainer

__all__ = [
    "AveragedModel",
    "Callback",
    "CompiledStep",
    "Dataset",
    "Diagnosis",
    "EarlyStopping",
    "GlassgradError",
    "Graph",
    "GraphError",
    "Input",
    "InputError",
    "Lenses",
    "MaxTime",
    "Model",
    "Network",
    "Perceptron",
    "Program",
    "Progress",
    "Run",
    "Sequential",
    "Settings",
    "StepInputs",
    "Trainer",
    "__version__",
    "check_derivative",
    "compile_step",
    "diagnose",
    "explain_derivative",
    "from_arrays",
    "from_table",
    "functional",
    "gradient",
    "hessian_vector_product",
    "init",
    "inspect",
    "jvp",
    "load_model",
    "load_source",
    "losses",
    "make_input",
    "nn",
    "ops",
    "optim",
    "read_lenses",
    "register",
    "replay",
    "train",
    "train_many",
    "vjp",
]
