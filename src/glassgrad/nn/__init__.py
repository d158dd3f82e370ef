"""Layers, activations and networks."""

from glassgrad.common.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "glassgrad.nn.activations": (
            "Activation",
            "ELU",
            "GELU",
            "Identity",
            "LeakyReLU",
            "LogSoftmax",
            "Mish",
            "ReLU",
            "SELU",
            "SiLU",
            "Sigmoid",
            "Softmax",
            "Softplus",
            "Step",
            "Tanh",
        ),
        "glassgrad.nn.layer": ("BufferSpec", "BuildContext", "Layer", "ParameterSpec", "SymbolicTensor"),
        "glassgrad.nn.layers.activation": ("ActivationLayer",),
        "glassgrad.nn.layers.convolution": ("Conv2D",),
        "glassgrad.nn.layers.dense": ("Dense",),
        "glassgrad.nn.layers.dropout": ("Dropout",),
        "glassgrad.nn.layers.embedding": ("Embedding",),
        "glassgrad.nn.layers.merging": ("Add", "Concatenate", "Multiply"),
        "glassgrad.nn.layers.normalization": ("BatchNorm", "LayerNorm"),
        "glassgrad.nn.layers.pooling": ("AveragePool2D", "GlobalAveragePool2D", "MaxPool2D"),
        "glassgrad.nn.layers.recurrent": ("SimpleRNN",),
        "glassgrad.nn.layers.reshaping": ("Flatten", "Reshape"),
        "glassgrad.nn.network": ("Input", "LayerNode", "Network", "Sequential", "functional"),
    },
)
