"""The losses and gradients of many models at once, from one flat list of tensor operations.

The forward pass of one model is vectorised over stacked parameters (`torch.vmap`), differentiated
and traced; what is left to run is neither Python code of the model nor autograd's bookkeeping.
A run's numbers are those of its training alone up to rounding: the sums are ordered differently.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call, vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional

from worker.engine.device import Numerics


@dataclass(frozen=True)
class Passed:
    """What a pass over a batch of each run computes, on the device.

    Attributes:
        losses: (runs,)
        gradients: one for each parameter, (runs, *shape).
        hits: how many examples of each run's batch were right, (runs,); None where nobody asked.
    """

    losses: Tensor
    gradients: list[Tensor]
    hits: Tensor | None


class Program:
    """Forward and backward pass of a fixed number of runs."""

    def __init__(
        self,
        blueprint: nn.Module,
        numerics: Numerics,
        parameters: Sequence[Tensor],
        inputs: Tensor,
        labels: Tensor,
        *,
        hits: bool = False,
    ) -> None:
        """Trace the pass.

        `blueprint` is the model without values; `parameters` are stacked, (runs, *shape), in its
        order; `inputs` and `labels`, (runs, examples, ...), are batches to trace it with.
        """
        forward = vectorised(blueprint, numerics)
        # the derivative of a run's mean loss by the loss of each of its examples
        share = torch.full(labels.shape, 1 / labels.shape[1], device=labels.device)
        self._hits = hits

        def passed(inputs: Tensor, labels: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
            leaves = [each.detach().requires_grad_() for each in parameters]
            # classes in the middle: torch's softmax is faster that way
            scores = forward(leaves, inputs).transpose(1, 2)
            losses = functional.cross_entropy(scores, labels, reduction="none")
            gradients = torch.autograd.grad(losses, leaves, share)
            right = ((scores.argmax(1) == labels).sum(1),) if hits else ()
            return losses.mean(1).detach(), *gradients, *right

        self.graph: fx.GraphModule = make_fx(passed)(inputs, labels, *parameters)
        _tidy(self.graph)

    @torch.no_grad()
    def __call__(self, inputs: Tensor, labels: Tensor, parameters: Sequence[Tensor]) -> Passed:
        """One pass, of arguments shaped as those it was traced with."""
        losses, *others = self.graph(inputs, labels, *parameters)
        hits = others.pop() if self._hits else None
        return Passed(losses, others, hits)


def vectorised(
    blueprint: nn.Module, numerics: Numerics, *, shared: bool = False
) -> Callable[[Sequence[Tensor], Tensor], Tensor]:
    """Stacked parameters and inputs -> scores (runs, examples, classes) in float32.

    Inputs are (runs, examples, ...), or with `shared` (examples, ...), the same for every run.
    """
    names = [name for name, _ in blueprint.named_parameters()]

    def scores(parameters: list[Tensor], inputs: Tensor) -> Tensor:
        found: Tensor = functional_call(
            blueprint, dict(zip(names, parameters, strict=True)), (inputs,)
        )
        return found

    batched = vmap(scores, in_dims=(0, None if shared else 0))

    def forward(parameters: Sequence[Tensor], inputs: Tensor) -> Tensor:
        with numerics.autocast():
            return batched(list(parameters), inputs).float()

    return forward


def compiled(
    function: Callable[..., Sequence[Tensor]], arguments: Sequence[Tensor]
) -> Callable[..., Sequence[Tensor]]:
    """The function compiled from its trace, for arguments like these; it may change them.

    What it is called with is not looked at, unlike by `torch.compile`, which takes as long for
    that as a small model's update does: arguments of another shape or type are an error in memory.
    """
    # traced with copies, for it is run
    graph = make_fx(function)(*(each.clone() for each in arguments))
    made: Callable[..., Sequence[Tensor]] = torch._inductor.compile(graph, list(arguments))  # noqa: SLF001 - documented
    return made


def _tidy(graph: fx.GraphModule) -> None:
    """Take out what changes nothing: each operation costs as much as its arithmetic."""
    aten = torch.ops.aten
    same_shape = {aten.view.default, aten.expand.default, aten._unsafe_view.default}  # noqa: SLF001
    for node in graph.graph.nodes:
        if node.op != "call_function" or not node.args:
            continue
        source = node.args[0]
        unchanged = (
            node.target is aten.detach.default
            or (node.target is aten.mul.Scalar and node.args[1] == 1)
            or (node.target in same_shape and _shape(node) == _shape(source))
        )
        if unchanged:
            node.replace_all_uses_with(source)
            graph.graph.erase_node(node)
        elif (
            node.target is aten.transpose.int
            and node.args[1:] == (1, 2)
            and source.target is aten.bmm.default
        ):
            # the product the other way round is in the order that the parameter has
            with graph.graph.inserting_before(node):
                turned = [
                    graph.graph.call_function(aten.transpose.int, (each, 1, 2))
                    for each in reversed(source.args)
                ]
                product = graph.graph.call_function(aten.bmm.default, tuple(turned))
            node.replace_all_uses_with(product)
            graph.graph.erase_node(node)
    graph.graph.eliminate_dead_code()
    graph.recompile()


def _shape(node: fx.Node) -> object:
    meta = node.meta.get("tensor_meta")
    return (meta.shape, meta.dtype) if meta is not None else node
