"""The calculator's output states the value, whether it is exact, and all that was rounded away."""

from services.tools.builtin.calculator import Calculate


async def test_an_exact_value_is_said_to_be_exact() -> None:
    output = await Calculate().call({"expression": "17.5%  of 2,340"})
    assert output.text == "17.5% of 2,340 = 409.5"
    assert output.content == {"expression": "17.5% of 2,340", "value": "409.5", "is_exact": True}
    assert output.values == ("409.5",)


async def test_a_rounded_value_keeps_its_fraction() -> None:
    output = await Calculate().call({"expression": "1/3"})
    assert output.text == "1/3 ≈ 0.333333333333333"
    assert output.content["exact"] == "1/3"


async def test_a_huge_integer_keeps_all_digits_in_its_content() -> None:
    output = await Calculate().call({"expression": "100!"})
    assert len(output.text) < 60
    assert len(output.content["exact"]) == 158


async def test_a_comparison_may_be_answered_with_yes_or_no() -> None:
    output = await Calculate().call({"expression": "7/8 > 0.87"})
    assert output.text == "7/8 > 0.87 is true"
    assert output.values == ("true", "yes")
