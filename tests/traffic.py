"""Bytes that operations read and write, counted without a GPU."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Traffic(TorchDispatchMode):
    """Counts the bytes that torch's operations read and write; views and uninitialised tensors count nothing."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        schema, name = function._schema, function._schema.name
        views = any(value.alias_info is not None and not value.alias_info.is_write for value in schema.returns)
        onto_itself = name == "aten::copy_" and args[0].data_ptr() == args[1].data_ptr()  # torch returns at once
        if name.startswith("aten::") and not views and "empty" not in name and not onto_itself:
            only_written = {"aten::copy_", "aten::zero_", "aten::fill_"}
            read = args[1:] if name in only_written else args
            self.bytes += sum(tensor.nbytes for tensor in tensors_in([*read, *(kwargs or {}).values(), out]))
        return out


def tensors_in(values):
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from tensors_in(value)


class Launches:
    """A Triton kernel in whose place its tensors are counted, once each, and nothing is computed.

    Args:
        traffic: the count.
        overwritten: numbers of the arguments that are read and written.
    """

    def __init__(self, traffic, overwritten=()):
        self.traffic, self.overwritten = traffic, overwritten

    def __getitem__(self, grid):
        return self.launch

    def launch(self, *args, **constants):
        once = {tensor.data_ptr(): tensor.nbytes for tensor in tensors_in(args)}
        self.traffic.bytes += sum(once.values()) + sum(args[number].nbytes for number in self.overwritten)
