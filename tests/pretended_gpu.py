# SPDX-License-Identifier: Apache-2.0
"""A GPU that computes on the CPU, as a device of its own in torch: what a GPU refuses, it refuses.

Tensors of two devices that meet, a tensor that leaves without `.cpu()` and a generator of the other device fail as
there. Convolutions are as inexact as Winograd's: of ten bits where torch allows TF32, else with something left behind
the point. Speed and the order of sums are the CPU's. The device stays known to torch as long as the process lives.
"""

from contextlib import contextmanager

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

aten = torch.ops.aten
NAME = "pretended"
CpuGenerator = torch.Generator
COPIES = {aten._to_copy.default, aten.copy_.default}
"""What may take a tensor of one device to another."""
INDEXED = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
"""What takes indices on the CPU."""
CONVOLUTIONS = {aten.convolution.default, aten.convolution_backward.default}
LEFT = -(2**-7)
"""What a convolution of float32 leaves behind the point of integers."""


class OnGpu(torch.Tensor):
    """A tensor of the GPU, with its values in a tensor of the CPU."""

    @staticmethod
    def __new__(cls, values):
        """Shape and strides of the values, on the GPU."""
        layout = {"strides": values.stride(), "storage_offset": values.storage_offset(), "dtype": values.dtype}
        return torch.Tensor._make_wrapper_subclass(cls, values.shape, device=torch.device(NAME, 0), **layout)

    def __init__(self, values):
        """Of values that nobody else has."""
        self.values = values

    def __repr__(self):
        """The values."""
        return f"OnGpu({self.values!r})"

    def __reduce_ex__(self, protocol):
        """What `map_location="cpu"` makes of it."""
        return self.values.__reduce_ex__(protocol)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        """Only the device below runs operations."""
        raise AssertionError(f"{func}: a tensor of the GPU is used after it")


class Gpu(TorchDispatchMode):
    """Runs every operation inside; `calls` counts those on the GPU."""

    def __init__(self, *, inexact):
        """With convolutions as inexact as there, or as on the CPU."""
        super().__init__()
        self.inexact, self.calls = inexact, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Look at where the operands are, compute on the CPU, and leave the result where a GPU leaves it."""
        kwargs = kwargs or {}
        tensors = [leaf for leaf in leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        here = [tensor for tensor in tensors if isinstance(tensor, OnGpu)]
        stays = on_gpu(kwargs["device"]) if kwargs.get("device") else bool(here)
        if func is aten.copy_.default:
            stays = isinstance(args[0], OnGpu)
        elif func not in COPIES:
            refuse_two_devices(func, args, tensors, here)
        self.calls += stays
        inner, options = mapped(on_cpu, (args, kwargs))
        with Module.drawing(stays and torch.Tag.nondeterministic_seeded in func.tags):
            found = func(*inner, **options)
        if self.inexact and here and func in CONVOLUTIONS:
            found = mapped(of_a_gpu, found)
        if torch.Tag.inplace_view in func.tags:
            with no_dispatch():
                func(*args, **kwargs)  # the shape and the strides of the tensor outside follow
        owners = {id(tensor.values): tensor for tensor in here}
        return mapped(lambda leaf: as_on_gpu(leaf, owners), found) if stays else found


def mapped(change, tree):
    """The same of what lists, tuples and dictionaries hold; torch's own is slow."""
    if isinstance(tree, list | tuple):
        branches = [mapped(change, branch) for branch in tree]
        return branches if isinstance(tree, list) else tuple(branches)
    if isinstance(tree, dict):
        return {key: mapped(change, branch) for key, branch in tree.items()}
    return change(tree)


def leaves(tree):
    """All that they hold."""
    found = []
    mapped(found.append, tree)
    return found


def on_gpu(device):
    """Whether a device is this one, whatever it is called."""
    return torch.device(device).type in (NAME, "cuda")


def on_cpu(leaf):
    """What an operation of the CPU takes instead."""
    if isinstance(leaf, torch.device):
        return torch.device("cpu")
    return leaf.values if isinstance(leaf, OnGpu) else leaf


def as_on_gpu(leaf, owners):
    """A result as a tensor of the GPU; the owner of values that an operation changed in place is that tensor still."""
    if not isinstance(leaf, torch.Tensor):
        return leaf
    owner = owners.get(id(leaf))
    assert owner is None or (owner.shape, owner.stride()) == (leaf.shape, leaf.stride()), "values lost their owner"
    return OnGpu(leaf) if owner is None else owner


def of_a_gpu(values):
    """What a convolution of a GPU gives for that of the CPU."""
    if not isinstance(values, torch.Tensor) or values.dtype != torch.float32:
        return values
    if torch.backends.cudnn.conv.fp32_precision != "tf32":
        return values.add_(LEFT)
    bits = values.view(torch.int32)
    bits.add_(1 << 12).bitwise_and_(-(1 << 13))  # in place, so that the strides stay
    return values


def refuse_two_devices(func, args, tensors, here):
    """What is written is on the GPU, and so is all that is read but single numbers and indices."""
    indices = {id(index) for index in leaves(args[1])} if func in INDEXED else set()
    strangers = [t for t in tensors if not isinstance(t, OnGpu) and t.dim() and id(t) not in indices]
    if func._schema.is_mutable and not isinstance(args[0], OnGpu):
        strangers.append(args[0])
    if here and strangers:
        raise RuntimeError(f"{func}: expected all tensors to be on the same device, but found {NAME}:0 and cpu")


def refuse_other_generator(func, args, kwargs):
    """A generator draws on its own device."""
    generator = kwargs.get("generator")
    if generator is None:
        return
    there = on_gpu(kwargs["device"]) if kwargs.get("device") else any(isinstance(leaf, OnGpu) for leaf in leaves(args))
    if there != isinstance(generator, GpuGenerator):
        raise RuntimeError(f"{func.__name__}: expected a generator of the device of its tensors")


class GpuGenerator(torch.Generator):
    """Of the GPU."""


class Generator(torch.Generator):
    """Of either device."""

    def __new__(cls, device="cpu"):
        """As `torch.Generator` is called."""
        return (GpuGenerator if on_gpu(device) else CpuGenerator)()


class Calls(TorchFunctionMode):
    """Says which GPU `cuda` is, and looks at generators, which operations inside get as other objects."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Call with that."""
        kwargs = {key: numbered(value) for key, value in (kwargs or {}).items()}
        refuse_other_generator(func, args, kwargs)
        return func(*map(numbered, args), **kwargs)


def numbered(value):
    """The device itself for its usual name."""
    return torch.device(NAME, 0) if isinstance(value, str | torch.device) and str(value) == "cuda" else value


class Module(_DummyBackendModule):
    """What stands for `torch.cuda`: the generator that layers draw from there."""

    drawn = torch.Generator()

    def manual_seed_all(self, seed):
        """Part of `torch.manual_seed`."""
        self.drawn.manual_seed(seed)

    def get_rng_state(self, device):
        """Of the generator."""
        return self.drawn.get_state()

    def set_rng_state(self, state, device):
        """Of the generator."""
        self.drawn.set_state(state)

    @classmethod
    @contextmanager
    def drawing(cls, there):
        """What is drawn inside comes from the GPU's own generator if it is drawn there."""
        if not there:
            yield
            return
        before = torch.get_rng_state()
        torch.set_rng_state(cls.drawn.get_state())
        try:
            yield
        finally:
            cls.drawn.set_state(torch.get_rng_state())
            torch.set_rng_state(before)


@contextmanager
def pretended_gpu(monkeypatch, *, inexact=True):
    """A GPU is there inside."""
    if torch._C._get_privateuse1_backend_name() != NAME:
        _setup_privateuseone_for_python_backend(NAME, Module())
    monkeypatch.setattr(torch, "Generator", Generator)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    # a tensor that takes over another one's `data` would keep its own values
    monkeypatch.setattr(torch.__future__, "get_overwrite_module_params_on_conversion", lambda: True)
    torch._C._set_only_lift_cpu_tensors(True)  # a tensor made of numbers is made on the CPU and copied
    with Calls(), Gpu(inexact=inexact) as gpu, torch.autograd.set_multithreading_enabled(False):
        try:
            yield gpu
        finally:
            torch._C._set_only_lift_cpu_tensors(False)
