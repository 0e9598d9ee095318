"""An option means one thing: for all methods, and beside the other options of a command."""

from __future__ import annotations

from typing import Annotated, Literal

import click
import pytest
from pydantic import Field

from dtc.cli.commands import compress
from dtc.cli.sections import Section, SectionedCommand, option
from dtc.errors import UsageError
from dtc.passes.method import make_method, methods
from dtc.passes.options import Bits, GroupSize, Options, Try, refuse_clashes, tried


class Known(Options):
    """Some options."""

    bits: Bits
    group_size: GroupSize = 0
    rate: Annotated[float, Try(0.1, 0.2)] = Field(0.5, gt=0, le=1, description="how much")


class Alike(Options):
    """The same, with other values worth trying."""

    bits: Annotated[Bits, Try(1, 2)]
    rate: Annotated[float, Try(0.7)] = Field(0.5, le=1, gt=0, description="how much")


class OtherType(Options):
    """A switch where a number is known."""

    bits: bool = Field(default=False, description="bits a weight")


class OtherDefault(Options):
    """A number that need not be given."""

    bits: Bits = 8


class OtherBounds(Options):
    """A wider range."""

    bits: int = Field(ge=1, le=16, description="bits a weight")


class OtherMeaning(Options):
    """Something else in the same words of the command line."""

    rate: float = Field(0.5, gt=0, le=1, description="how fast")


class OtherCheck(Options):
    """Sizes that are not multiples of 8."""

    group_size: int = Field(
        0, ge=0, description="weights of a row that share a scale, a multiple of 8; 0: the whole row"
    )


class OtherWords(Options):
    """A choice where a number is known."""

    rate: Literal["slow", "fast"] = Field("slow", description="how much")


def parameters() -> list[click.Parameter]:
    """Return all parameters of `dtc compress`."""
    command = compress.command
    return command.get_params(click.Context(command, help_option_names=["-h", "--help"]))


def test_the_same_declaration_is_shared_and_values_worth_trying_may_differ() -> None:
    refuse_clashes({"known": Known, "alike": Alike})
    assert tried(Known.model_fields["rate"]) == (0.1, 0.2)
    assert tried(Alike.model_fields["rate"]) == (0.7,)
    assert tried(Known.model_fields["bits"]) == ()


@pytest.mark.parametrize(
    ("other", "flag", "differs"),
    [
        (OtherType, "--bits", "type int and bool"),
        (OtherDefault, "--bits", "default none, it is required and 8"),
        (OtherBounds, "--bits", r"bounds Ge\(ge=1\), Le\(le=8\) and Ge\(ge=1\), Le\(le=16\)"),
        (OtherMeaning, "--rate", "description 'how much' and 'how fast'"),
        (OtherCheck, "--group-size", "bounds .*AfterValidator"),
        (OtherWords, "--rate", "type float and .*Literal"),
    ],
)
def test_another_meaning_of_an_option_is_refused(other: type[Options], flag: str, differs: str) -> None:
    with pytest.raises(RuntimeError, match=rf"methods known and other declare {flag} differently \(.*{differs}"):
        refuse_clashes({"known": Known, "other": other})


def test_no_method_takes_an_option_of_the_command_itself() -> None:
    own = {"--max-drop", "--seed", "--output", "--force", "--threads"}
    assert own <= {flag for parameter in parameters() for flag in parameter.opts}
    assert not own & {
        f"--{name.replace('_', '-')}" for kind in methods().values() for name in kind.options_type.model_fields
    }


def test_two_options_of_one_flag_are_refused() -> None:
    @click.command("job", cls=SectionedCommand, further=lambda: [click.Option(["--seed"])])
    @option(Section.OTHER, "--seed", type=int)
    def command(**_: object) -> None: ...

    with pytest.raises(RuntimeError, match="two options of dtc job are called --seed"):
        command.get_params(click.Context(command))


def test_every_option_has_a_section_and_a_text() -> None:
    for parameter in parameters():
        if isinstance(parameter, click.Option) and "--help" not in parameter.opts:
            assert parameter.help, parameter.name
            assert getattr(parameter, "section", Section.OTHER) is not Section.OTHER, parameter.name


@pytest.mark.parametrize("value", [True, "8"])
def test_numbers_are_written_as_numbers(value: object) -> None:
    with pytest.raises(UsageError, match="rank"):
        make_method("svd", {"rank": value})
