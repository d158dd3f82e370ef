"""Glassgrad: neural-network training that you can see through, and that is fast because of it.

Five lines::

    import glassgrad as gg

    run = gg.train("digits", layers=[64, 32], epochs=30, seed=0)
    print(run.metrics["test"]["accuracy"])
    run.model.predict(gg.load_source("digits").features[:5])
    run.save("my-run")

What one needs every day is at the top. The parts are in namespaces: ``gg.nn`` (layers, activations, networks),
``gg.optim`` (optimizers, schedules), ``gg.init`` (initializers), ``gg.losses`` and ``gg.ops``. A part is an object
or its name: ``optimizer=gg.optim.Adam(0.01)`` and ``optimizer="adam(0.01)"`` are the same.

Every public name is loaded when it is first used (PEP 562), so that importing Glassgrad costs next to nothing.
"""

from glassgrad.common.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "glassgrad.autodiff.sweeps": ("gradient", "hessian_vector_product", "jvp", "vjp"),
        "glassgrad.backends.native.driver.inspect": ("inspect",),
        "glassgrad.common.errors": ("GlassgradError", "GraphError", "InputError"),
        "glassgrad.common.version": ("__version__",),
        "glassgrad.data.dataset": ("Dataset", "from_arrays", "from_table"),
        "glassgrad.data.sources": ("load_source",),
        "glassgrad.diagnosis.core.findings": ("Diagnosis",),
        "glassgrad.diagnosis.diagnose": ("diagnose",),
        "glassgrad.explain.explain": ("explain_derivative",),
        "glassgrad.graph.node": ("Graph",),
        "glassgrad.nn.network": ("Input", "Network", "Sequential", "functional"),
        "glassgrad.ops.op": ("make_input",),
        "glassgrad.program": ("Program",),
        "glassgrad.training.callbacks": ("AveragedModel", "Callback", "EarlyStopping", "MaxTime"),
        "glassgrad.training.check": ("check_derivative",),
        "glassgrad.training.lenses": ("Lenses", "read_lenses"),
        "glassgrad.training.many": ("train_many",),
        "glassgrad.training.model": ("Model", "load_model"),
        "glassgrad.training.own_step": ("CompiledStep", "StepInputs", "compile_step"),
        "glassgrad.training.perceptron": ("Perceptron",),
        "glassgrad.training.register": ("register",),
        "glassgrad.training.replay": ("replay",),
        "glassgrad.training.run": ("Progress", "Run"),
        "glassgrad.training.settings": ("Settings",),
        "glassgrad.training.train": ("train",),
        "glassgrad.training.trainer": ("Trainer",),
    },
    namespaces=("init", "losses", "nn", "ops", "optim"),
    bindings={
        ("glassgrad.training.run", "Run", "diagnose_run"): ("glassgrad.diagnosis.diagnose", "diagnose")
    },
)
