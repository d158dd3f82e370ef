"""The project's ``dataclass`` against the standard one: the same classes, decorated with either, behave alike."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, ClassVar

import pytest

from glassgrad.common.dataclass import dataclass

Decorator = Callable[..., Any]
DECORATORS: dict[str, Decorator] = {"standard": dataclasses.dataclass, "own": dataclass}


def plain(decorator: Decorator) -> type:
    @decorator
    class Plain:
        """Fields that can be changed."""

        x: int
        y: Sequence[int] = (1, 2)

    return Plain


def frozen(decorator: Decorator) -> type:
    @decorator(frozen=True)
    class Frozen:
        """All kinds of fields."""

        kind: ClassVar[str] = "frozen"
        x: int
        y: float = 0.5
        made: dict[str, int] = dataclasses.field(default_factory=dict, hash=False)
        hidden: str = dataclasses.field(default="h", repr=False, compare=False)
        later: int = dataclasses.field(init=False)
        fixed: int = dataclasses.field(default=7, init=False)
        listed: list[int] = dataclasses.field(default_factory=list, init=False, hash=False)

        def __post_init__(self) -> None:
            object.__setattr__(self, "later", self.x * 2)

        @cached_property
        def square(self) -> int:
            return self.x**2

    return Frozen


def derived(decorator: Decorator) -> type:
    @decorator(frozen=True)
    class Base(ABC):
        """A base with fields."""

        x: int
        y: int = 1

        @abstractmethod
        def total(self) -> int:
            """Of all."""

    @decorator(frozen=True)
    class Derived(Base):
        """Another default, and one field more."""

        y: int = 2
        z: int = 3

        def total(self) -> int:
            return self.x + self.y + self.z

    return Derived


def undecorated(decorator: Decorator) -> type:
    class Undecorated(derived(decorator)):  # type: ignore[misc]
        """Inherits all it needs."""

        name = "undecorated"

    return Undecorated


def by_identity(decorator: Decorator) -> type:
    @decorator(frozen=True, eq=False)
    class ByIdentity:
        """Compared by identity."""

        x: int = 0

    return ByIdentity


def by_hand(decorator: Decorator) -> type:
    @decorator(frozen=True)
    class ByHand:
        """Methods of its own."""

        x: int = 0
        y: int = 0

        def __repr__(self) -> str:
            return "by hand"

        def __eq__(self, other: object) -> bool:
            return isinstance(other, type(self)) and other.x == self.x

        def __hash__(self) -> int:
            return 5

    return ByHand


def equal_by_hand(decorator: Decorator) -> type:
    @decorator(frozen=True)
    class EqualByHand:  # noqa: PLW1641
        """Equality of its own, and no hash."""

        x: int = 0

        def __eq__(self, other: object) -> bool:
            return True

    return EqualByHand


def empty(decorator: Decorator) -> type:
    @decorator(frozen=True)
    class Empty:
        """No fields."""

    return Empty


CLASSES = [plain, frozen, derived, undecorated, by_identity, by_hand, equal_by_hand, empty]
CALLS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((), {}),
    ((1,), {}),
    ((1, 2), {}),
    ((1, 2, {"a": 1}), {}),
    ((1, 2, 3, 4), {}),
    ((1, 2, 3, 4, 5), {}),
    ((1,), {"y": 3}),
    ((), {"y": 3, "x": 4}),
    ((), {"y": 3}),
    ((1,), {"x": 1}),
    ((1, 2), {"y": 2}),
    ((1,), {"hidden": "other"}),
    ((1,), {"later": 1}),
    ((1,), {"unknown": 1}),
    ((1,), {"z": 9}),
]


def attempt(action: Callable[[], Any]) -> Any:
    """What ``action`` gives, or the kind of its exception."""
    try:
        return action()
    except (TypeError, AttributeError) as error:
        return type(error)


def told(cls: type, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """All that can be seen of an object, as plain values."""
    made = attempt(lambda: cls(*args, **named))
    if isinstance(made, type):
        return made
    again = cls(*args, **named)
    return {
        "repr": repr(made).replace(" at 0x", " "),
        "fields": {f.name: getattr(made, f.name) for f in dataclasses.fields(made)},
        "variables": dict(vars(made)),
        "equal": made == again,
        "unequal": made != again,
        "to another": made == object(),
        "hash": attempt(lambda: hash(made) == hash(again)),
        "set": attempt(lambda: setattr(made, "x", 5)),
        "set new": attempt(lambda: setattr(made, "new", 5)),
        "delete": attempt(lambda: delattr(made, "x")),
        "replaced": attempt(lambda: vars(dataclasses.replace(again, x=9))),
        "copied": vars(copy.copy(again)),
        "copied deeply": vars(copy.deepcopy(again)),
    }


@pytest.mark.parametrize("make", CLASSES)
@pytest.mark.parametrize("call", CALLS, ids=str)
def test_objects_are_as_those_of_the_standard_library(
    make: Callable[[Decorator], type], call: tuple[tuple[Any, ...], dict[str, Any]]
) -> None:
    standard, own = (told(make(decorator), *call) for decorator in DECORATORS.values())
    if isinstance(standard, dict):
        assert own.keys() == standard.keys()
        for key in standard:
            if key == "repr" and make is by_identity:
                assert own[key].split("x=")[1] == standard[key].split("x=")[1]
            else:
                assert own[key] == standard[key], key
    else:
        assert own == standard


@pytest.mark.parametrize("make", CLASSES)
def test_classes_are_as_those_of_the_standard_library(make: Callable[[Decorator], type]) -> None:
    standard, own = (make(decorator) for decorator in DECORATORS.values())
    described = [
        [
            (f.name, f.type, f.default, f.default_factory, f.init, f.repr, f.compare, f.hash)
            for f in dataclasses.fields(cls)
        ]
        for cls in (standard, own)
    ]
    assert described[0] == described[1]
    assert dataclasses.is_dataclass(own)
    assert own.__match_args__ == standard.__match_args__  # type: ignore[attr-defined]
    parameters = [inspect.signature(cls).parameters.values() for cls in (standard, own)]
    for a, b in zip(*parameters, strict=True):
        assert (a.name, a.kind, a.annotation) == (b.name, b.kind, b.annotation)
        assert (a.default is a.empty) == (b.default is b.empty)
    for name in ("x", "y", "made", "later", "fixed"):
        assert vars(own).get(name) == vars(standard).get(name)


@pytest.mark.parametrize("lower", DECORATORS)
@pytest.mark.parametrize("upper", DECORATORS)
def test_either_decorator_may_stand_above_the_other(lower: str, upper: str) -> None:
    @DECORATORS[lower](frozen=True)
    class Base:
        """Below."""

        x: int
        y: int = 1

    @DECORATORS[upper](frozen=True)
    class Derived(Base):
        """Above."""

        z: int = 2

    made: Any = Derived(5, z=4)
    assert (made.x, made.y, made.z) == (5, 1, 4)
    assert repr(made).endswith("Derived(x=5, y=1, z=4)")
    assert made == Derived(5, 1, 4) != Derived(5, 1, 5)
    assert hash(made) == hash(Derived(5, 1, 4))
    assert list(inspect.signature(Derived).parameters) == ["x", "y", "z"]
    assert dataclasses.replace(made, x=6) == Derived(6, 1, 4)
    with pytest.raises(dataclasses.FrozenInstanceError, match="'x'"):
        made.x = 1
    with pytest.raises(TypeError, match="frozen"):

        @DECORATORS[upper]
        class Loose(Base):
            """Not frozen, above one that is."""


def test_a_handwritten_initializer_is_kept_and_shown() -> None:
    @dataclass(frozen=True)
    class Own:
        """Takes something else."""

        x: int

        def __init__(self, text: str) -> None:
            object.__setattr__(self, "x", int(text))

    class Below(Own):
        """The same below."""

        def __init__(self) -> None:
            super().__init__("3")

    assert Own("4").x == 4
    assert list(inspect.signature(Own).parameters) == ["text"]
    assert list(inspect.signature(Below).parameters) == []
    assert Below().x == 3


def test_callable_objects_have_the_signature_of_their_call() -> None:
    @dataclass(frozen=True)
    class Adds:
        """Adds a number."""

        number: int = 1

        def __call__(self, to: int) -> int:
            return to + self.number

    assert Adds(2)(3) == 5
    assert list(inspect.signature(Adds(2)).parameters) == ["to"]


def test_what_refers_to_itself_has_an_end() -> None:
    cls = plain(dataclass)
    made = cls(1, [])
    made.y.append(made)
    assert repr(made).endswith("Plain(x=1, y=[...])")


@pytest.mark.parametrize("decorator", DECORATORS.values(), ids=DECORATORS)
def test_a_field_without_a_default_comes_first(decorator: Decorator) -> None:
    with pytest.raises(TypeError, match="default"):

        @decorator
        class Late:
            """Cannot be."""

            x: int = 1
            y: int


@pytest.mark.parametrize("decorator", DECORATORS.values(), ids=DECORATORS)
def test_a_default_that_all_would_share_is_refused(decorator: Decorator) -> None:
    with pytest.raises(ValueError, match="mutable default"):

        @decorator
        class Shared:
            """Cannot be."""

            x: list[int] = []  # noqa: RUF012


@dataclass(frozen=True)
class Kept:
    """Can be found by its name."""

    x: int
    y: tuple[int, ...] = ()


def test_objects_survive_pickling() -> None:
    assert pickle.loads(pickle.dumps(Kept(1, (2, 3)))) == Kept(1, (2, 3))


def test_an_error_names_the_class_and_the_value() -> None:
    for call, words in (
        (Kept, "Kept.*'x'"),
        (lambda: Kept(1, z=2), "Kept.*'z'"),  # type: ignore[call-arg]
        (lambda: Kept(1, (), 3), "Kept.*x, y"),  # type: ignore[call-arg]
    ):
        with pytest.raises(TypeError, match=words):
            call()


def test_no_methods_are_generated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is what it is for."""
    made = []

    def watched(text: str, *rest: Any, run: Callable[..., None] = exec) -> None:
        made.append(text)
        run(text, *rest)

    monkeypatch.setattr("builtins.exec", watched)
    frozen(dataclasses.dataclass)
    assert "def __init__" in "".join(made)
    made.clear()
    frozen(dataclass)
    derived(dataclass)
    assert "def __init__" not in "".join(made)
