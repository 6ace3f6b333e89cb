"""The built-in models, datasets and optimizers: their names and the parameters they take."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from schedules.values import Momentum, Value
from spec.values import Seed

Fraction = Annotated[float, Field(strict=True, ge=0, lt=1)]
Decay = Annotated[float, Field(strict=True, ge=0, le=1e6)]
Epsilon = Annotated[float, Field(strict=True, gt=0, le=1)]
Width = Annotated[int, Field(strict=True, ge=1, le=10_000_000)]


class ComponentParams(Value):
    """Parameters of one built-in; the docstring of a subclass is its public description."""

    component: ClassVar[str]


class MlpParams(ComponentParams):
    """A multi-layer perceptron on the flattened input."""

    component: ClassVar[str] = "mlp"

    hidden: Annotated[
        tuple[Width, ...],
        Field(max_length=64, description="units of each hidden layer"),
    ] = (784,)
    activation: Literal["relu", "tanh", "gelu"] = "relu"
    dropout: Fraction = 0.0


class LenetParams(ComponentParams):
    """A LeNet-style network: two convolutions with pooling, two dense layers."""

    component: ClassVar[str] = "lenet"

    channels: Annotated[
        tuple[Width, Width],
        Field(description="output channels of the two convolutions"),
    ] = (20, 50)
    hidden: Annotated[Width, Field(description="units of the dense layer")] = 500


class ResnetParams(ComponentParams):
    """A CIFAR-style residual network of depth 6n + 2 (He et al., arXiv 1512.03385 section 4.2)."""

    component: ClassVar[str] = "resnet"

    depth: Annotated[int, Field(strict=True, ge=8, le=1202, description="6n + 2 layers")] = 8
    width: Annotated[Width, Field(description="channels of the first stage")] = 16

    @model_validator(mode="after")
    def _depth(self) -> Self:
        if (self.depth - 2) % 6:
            raise PydanticCustomError("depth", "must be 6n + 2: 8, 14, 20, ...", {"field": "depth"})
        return self


class DigitsParams(ComponentParams):
    """The 1,797 handwritten digits of 8 x 8 pixels that scikit-learn ships: 1,437 to train on."""

    component: ClassVar[str] = "digits"


class FashionMnistParams(ComponentParams):
    """Fashion-MNIST: 60,000 and 10,000 images of clothes, 28 x 28 pixels (arXiv 1708.07747)."""

    component: ClassVar[str] = "fashion-mnist"


class MnistParams(ComponentParams):
    """MNIST: 60,000 and 10,000 handwritten digits, 28 x 28 pixels (LeCun et al., 1998)."""

    component: ClassVar[str] = "mnist"


class Cifar10Params(ComponentParams):
    """CIFAR-10: 50,000 and 10,000 colour images, 32 x 32 pixels (Krizhevsky, 2009)."""

    component: ClassVar[str] = "cifar10"


class SyntheticParams(ComponentParams):
    """Gaussian clusters, one per class, made from a seed: for tests and dry runs."""

    component: ClassVar[str] = "synthetic"

    examples: Annotated[int, Field(strict=True, ge=2, le=10_000_000)] = 10_000
    shape: Annotated[
        tuple[Width, Width, Width],
        Field(description="channels, height, width of an example"),
    ] = (1, 8, 8)
    classes: Annotated[int, Field(strict=True, ge=2, le=100_000)] = 10
    noise: Annotated[
        float,
        Field(strict=True, ge=0, le=1e3, description="spread of a cluster"),
    ] = 1.0
    seed: Seed = 0


class ArraysParams(ComponentParams):
    """Your own: four .npy files in a folder below `arrays` in the workers' data directory.

    `train_inputs.npy` and `validation_inputs.npy` hold real numbers of shape (examples, channels,
    height, width), (examples, height, width) or (examples, features); `train_labels.npy` and
    `validation_labels.npy` an integer from 0 for each example. They are mapped into memory, and
    may be larger than it.
    """

    component: ClassVar[str] = "arrays"

    folder: Annotated[
        str,
        StringConstraints(strict=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"),
        Field(description="its name; no path leads out of the data directory"),
    ]
    classes: Annotated[
        int | None,
        Field(strict=True, ge=2, le=100_000, description="unset: one more than the largest label"),
    ] = None


class SgdParams(ComponentParams):
    """Stochastic gradient descent, with momentum and Nesterov's form of it."""

    component: ClassVar[str] = "sgd"

    momentum: Momentum = 0.0
    nesterov: Annotated[bool, Field(strict=True)] = False
    weight_decay: Decay = 0.0

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and not self.momentum:
            raise PydanticCustomError(
                "momentum", "must be > 0 with nesterov", {"field": "momentum"}
            )
        return self


class AdamParams(ComponentParams):
    """Adam (arXiv 1412.6980); weight decay, if any, is added to the gradient."""

    component: ClassVar[str] = "adam"

    betas: tuple[Momentum, Momentum] = (0.9, 0.999)
    eps: Epsilon = 1e-8
    weight_decay: Decay = 0.0
    amsgrad: Annotated[bool, Field(strict=True)] = False


class AdamwParams(AdamParams):
    """AdamW (arXiv 1711.05101): Adam with decoupled weight decay."""

    component: ClassVar[str] = "adamw"

    weight_decay: Decay = 0.01


class RmspropParams(ComponentParams):
    """RMSprop (Hinton, lecture 6e, 2012)."""

    component: ClassVar[str] = "rmsprop"

    alpha: Momentum = 0.99
    momentum: Momentum = 0.0
    centered: Annotated[bool, Field(strict=True)] = False
    eps: Epsilon = 1e-8
    weight_decay: Decay = 0.0


PositiveMomentum = Annotated[float, Field(strict=True, gt=0, lt=1)]
Power = Annotated[float, Field(strict=True, ge=0, le=10)]


class _ScheduleFreeParams(ComponentParams):
    """What the schedule-free optimizers share: how the average of the iterates is weighted."""

    weight_decay: Decay = 0.0
    r: Annotated[Power, Field(description="weighs the iterate of step k by k^r")] = 0.0
    weight_lr_power: Annotated[
        Power, Field(description="and by this power of the largest learning rate so far")
    ] = 2.0


class SgdScheduleFreeParams(_ScheduleFreeParams):
    """Schedule-free SGD (arXiv 2405.15682): an average of iterates in place of a schedule.

    Made for a constant learning rate, larger than SGD's, perhaps after a warm-up.
    """

    component: ClassVar[str] = "sgd_schedulefree"

    momentum: Annotated[
        PositiveMomentum, Field(description="from the iterate, 0, to their average, 1")
    ] = 0.9


class AdamwScheduleFreeParams(_ScheduleFreeParams):
    """Schedule-free AdamW (arXiv 2405.15682): an average of iterates in place of a schedule.

    Made for a constant learning rate, up to ten times AdamW's, perhaps after a warm-up.
    """

    component: ClassVar[str] = "adamw_schedulefree"

    betas: tuple[PositiveMomentum, Momentum] = (0.9, 0.999)
    eps: Epsilon = 1e-8


class ProdigyParams(ComponentParams):
    """Prodigy (arXiv 2306.06101): Adam that estimates its own step size.

    The learning rate multiplies the estimate: leave it at 1, or let it fall from 1.
    """

    component: ClassVar[str] = "prodigy"

    betas: tuple[Momentum, Momentum] = (0.9, 0.999)
    beta3: Annotated[
        Momentum | None, Field(description="of the estimate; unset: the root of the second beta")
    ] = None
    eps: Epsilon = 1e-8
    weight_decay: Annotated[Decay, Field(description="decoupled, as AdamW's")] = 0.0
    use_bias_correction: Annotated[bool, Field(strict=True)] = False
    safeguard_warmup: Annotated[
        bool, Field(strict=True, description="set it with a warm-up of the learning rate")
    ] = False
    d0: Annotated[
        float, Field(strict=True, gt=0, le=1e6, description="the estimate to begin with")
    ] = 1e-6
    d_coef: Annotated[
        float, Field(strict=True, gt=0, le=1e6, description="multiplies the estimate")
    ] = 1.0
    growth_rate: Annotated[
        float | None,
        Field(strict=True, ge=1, le=1e6, description="how fast it may grow; unset: at once"),
    ] = None


def _named(*params: type[ComponentParams]) -> dict[str, type[ComponentParams]]:
    return {each.component: each for each in params}


MODELS = _named(MlpParams, LenetParams, ResnetParams)
DATASETS = _named(
    DigitsParams,
    FashionMnistParams,
    MnistParams,
    Cifar10Params,
    SyntheticParams,
    ArraysParams,
)
OPTIMIZERS = _named(
    SgdParams,
    AdamParams,
    AdamwParams,
    RmspropParams,
    SgdScheduleFreeParams,
    AdamwScheduleFreeParams,
    ProdigyParams,
)
