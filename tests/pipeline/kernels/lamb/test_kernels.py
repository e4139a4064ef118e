"""Every LAMB kernel equals the equations in float64, repeats itself bit for bit, and leaves padding alone."""

import pytest
import torch
from lamb_kernels import LENGTH, NUMBERS, PARTITION, expected, make, state

from pipeline.kernels.lamb.interface import Partition, Piece

KERNELS = ["plain", "cpu", "cuda", "apex"]
RATIOS = torch.tensor([0.5, 2.0, 7.0, 1.5, 3.0, 1.0])


def pieces(values):
    return torch.cat([values[start:stop] for _, start, stop in PARTITION.pieces]).cpu().double()


def close(actual, wanted, rtol=1e-6):
    torch.testing.assert_close(pieces(actual), pieces(wanted), rtol=rtol, atol=rtol)


def both_passes(kernel, tensors, ratios=RATIOS):
    sums = kernel.moments(tensors, PARTITION, NUMBERS)
    kernel.apply(tensors, PARTITION, NUMBERS, ratios.to(tensors.param.device))
    return sums


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("bias_correction", [True, False])
def test_lamb_equals_the_equations(name, bias_correction):
    """Moments, norms and weights of one step equal the equations to float32's rounding."""
    if name == "apex" and not bias_correction:
        pytest.skip("apex always corrects")
    numbers = NUMBERS._replace(bias_correction=bias_correction)
    kernel, tensors = make(name), state(name)
    w, m, v, u, sums = expected(numbers)
    found = kernel.moments(tensors, PARTITION, numbers)
    torch.testing.assert_close(found.cpu(), sums, rtol=1e-6, atol=0)
    kernel.apply(tensors, PARTITION, numbers, RATIOS.to(tensors.param.device))
    close(tensors.exp_avg, m)
    close(tensors.exp_avg_sq, v)
    for tensor, start, stop in PARTITION.pieces:
        w[start:stop] -= numbers.lr * RATIOS[tensor].double() * u[start:stop]
    close(tensors.param, w)


@pytest.mark.parametrize("name", KERNELS)
def test_adam_is_lamb_with_a_ratio_of_one(name):
    """The single pass of `adam` gives the weights and moments of the two passes with ratios of 1."""
    kernel, one, two = make(name), state(name), state(name)
    kernel.adam(one, PARTITION, NUMBERS)
    both_passes(kernel, two, torch.ones(6))
    for a, b in zip(one[:4:2] + one[3:4], two[:4:2] + two[3:4], strict=True):
        close(a, b)


@pytest.mark.parametrize("name", KERNELS)
def test_a_scaled_gradient_is_clipped_as_it_is_read(name):
    """`grad_scale` gives the weights and moments of gradients that were multiplied before, in one pass and in two."""
    numbers = NUMBERS._replace(grad_scale=0.3)
    for is_adam in (True, False):
        kernel, ours, theirs = make(name), state(name), state(name)
        theirs.grad.mul_(0.3)
        for tensors, given in ((ours, numbers), (theirs, NUMBERS)):
            if is_adam:
                kernel.adam(tensors, PARTITION, given)
            else:
                kernel.moments(tensors, PARTITION, given)
                kernel.apply(tensors, PARTITION, given, RATIOS.to(tensors.param.device))
        for a, b in zip((ours.param, *ours[2:4]), (theirs.param, *theirs[2:4]), strict=True):
            close(a, b)
            assert name == "apex" or torch.equal(pieces(a), pieces(b))


@pytest.mark.parametrize("name", KERNELS)
def test_padding_is_neither_read_nor_written(name):
    """NaN between the pieces is not changed and is not part of a sum."""
    kernel, tensors = make(name), state(name)
    sums = both_passes(kernel, tensors)
    assert torch.isfinite(sums).all()
    for values in (tensors.param, tensors.exp_avg, tensors.exp_avg_sq):
        assert int(torch.isnan(values).sum()) == LENGTH - sum(stop - start for _, start, stop in PARTITION.pieces)


@pytest.mark.parametrize("name", KERNELS)
def test_a_step_repeats_bit_for_bit(name):
    """Repeated steps give the same bits, whatever the threads do."""
    kernel, runs = make(name), []
    for threads in (1, 2):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        tensors = state(name)
        sums = both_passes(kernel, tensors)
        torch.set_num_threads(before)
        runs.append((sums, *tensors))
    for a, b in zip(*runs, strict=True):
        assert a is b is None or torch.equal(torch.nan_to_num(a), torch.nan_to_num(b))


@pytest.mark.parametrize("name", ["cpu", "cuda"])
def test_an_element_does_not_depend_on_its_place(name):
    """An element has the same bits wherever it lies: in a vector or its remainder, in an aligned or an
    unaligned chunk.
    """
    kernel = make(name)
    here, there = state(name), state(name)
    moved = type(there)(*(torch.cat([values[:1], values]) for values in there[:4]))
    shifted = Partition([Piece(t, start + 1, stop + 1) for t, start, stop in PARTITION.pieces], 6)
    both_passes(kernel, here)
    kernel.moments(moved, shifted, NUMBERS)
    kernel.apply(moved, shifted, NUMBERS, RATIOS.to(moved.param.device))
    assert torch.equal(pieces(here.param), pieces(moved.param[1:]))


def test_gpu_code_equals_cpu_code_bit_for_bit():
    """Interpreted Triton and C++ compute the same IEEE operations in the same order."""
    if torch.cuda.is_available():
        pytest.skip("a GPU fuses multiply and add")
    runs = []
    for name in ("cpu", "cuda"):
        kernel, tensors = make(name), state(name)
        both_passes(kernel, tensors)
        runs.append([pieces(values) for values in (tensors.param, tensors.exp_avg, tensors.exp_avg_sq)])
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("plain", torch.bfloat16), ("cpu", torch.bfloat16), ("cuda", torch.bfloat16), ("cuda", torch.float16)],
)
@pytest.mark.parametrize("adam", [True, False])
def test_model_weight_is_the_rounded_master(name, dtype, adam):
    """The 16-bit copy is written in the same pass, rounded to nearest even, and only within the pieces."""
    kernel, tensors = make(name), state(name, model=dtype)
    if adam:
        kernel.adam(tensors, PARTITION, NUMBERS)
    else:
        both_passes(kernel, tensors)
    written, rounded = pieces(tensors.model), pieces(tensors.param.to(dtype))
    if name == "cuda" and dtype == torch.bfloat16 and not torch.cuda.is_available():
        # numpy has no bf16; Triton's interpreter cuts off the low bits instead of rounding.
        assert ((written - rounded).abs() <= rounded.abs() * 2**-7).all()
    else:
        assert torch.equal(written, rounded)
    assert int((tensors.model != 0).sum()) <= len(written)


@pytest.mark.parametrize("name", KERNELS)
def test_rank_that_holds_only_padding(name):
    """A rank without pieces gives zero sums for every tensor and writes nothing."""
    kernel, tensors = make(name), state(name)
    nothing, before = Partition([], 4), tensors.param.clone()
    sums = kernel.moments(tensors, nothing, NUMBERS)
    kernel.apply(tensors, nothing, NUMBERS, torch.ones(4, device=tensors.param.device))
    kernel.adam(tensors, nothing, NUMBERS)
    assert sums.tolist() == [[0.0, 0.0]] * 4
    assert torch.equal(torch.nan_to_num(tensors.param), torch.nan_to_num(before))
