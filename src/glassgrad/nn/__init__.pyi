# Written by tools/write_stubs.py.

from glassgrad.nn.activations import (
    Activation as Activation,
    ELU as ELU,
    GELU as GELU,
    Identity as Identity,
    LeakyReLU as LeakyReLU,
    LogSoftmax as LogSoftmax,
    Mish as Mish,
    ReLU as ReLU,
    SELU as SELU,
    SiLU as SiLU,
    Sigmoid as Sigmoid,
    Softmax as Softmax,
    Softplus as Softplus,
    Step as Step,
    Tanh as Tanh,
)
from glassgrad.nn.layer import (
    BufferSpec as BufferSpec,
    BuildContext as BuildContext,
    Layer as Layer,
    ParameterSpec as ParameterSpec,
    SymbolicTensor as SymbolicTensor,
)
from glassgrad.nn.layers.activation import ActivationLayer as ActivationLayer
from glassgrad.nn.layers.convolution import Conv2D as Conv2D
from glassgrad.nn.layers.dense import Dense as Dense
from glassgrad.nn.layers.dropout import Dropout as Dropout
from glassgrad.nn.layers.embedding import Embedding as Embedding
from glassgrad.nn.layers.merging import Add as Add, Concatenate as Concatenate, Multiply as Multiply
from glassgrad.nn.layers.normalization import BatchNorm as BatchNorm, LayerNorm as LayerNorm
from glassgrad.nn.layers.pooling import (
    AveragePool2D as AveragePool2D,
    GlobalAveragePool2D as GlobalAveragePool2D,
    MaxPool2D as MaxPool2D,
)
from glassgrad.nn.layers.recurrent import SimpleRNN as SimpleRNN
from glassgrad.nn.layers.reshaping import Flatten as Flatten, Reshape as Reshape
from glassgrad.nn.network import (
    Input as Input,
    LayerNode as LayerNode,
    Network as Network,
    Sequential as Sequential,
    functional as functional,
)

__all__ = [
    "Activation",
    "ActivationLayer",
    "Add",
    "AveragePool2D",
    "BatchNorm",
    "BufferSpec",
    "BuildContext",
    "Concatenate",
    "Conv2D",
    "Dense",
    "Dropout",
    "ELU",
    "Embedding",
    "Flatten",
    "GELU",
    "GlobalAveragePool2D",
    "Identity",
    "Input",
    "Layer",
    "LayerNode",
    "LayerNorm",
    "LeakyReLU",
    "LogSoftmax",
    "MaxPool2D",
    "Mish",
    "Multiply",
    "Network",
    "ParameterSpec",
    "ReLU",
    "Reshape",
    "SELU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SimpleRNN",
    "Softmax",
    "Softplus",
    "Step",
    "SymbolicTensor",
    "Tanh",
    "functional",
]
