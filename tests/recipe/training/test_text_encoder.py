"""The text encoder's targets follow what a caption says."""

from recipe.training.text_encoder import ATTRIBUTES, reading_targets


def test_targets_name_what_is_said_and_leave_the_rest_absent() -> None:
    targets = reading_targets([{"shape": "star", "colour": "red"}], "white")
    count = len(ATTRIBUTES)
    assert len(targets) == 2 * count + 1
    names = list(ATTRIBUTES)
    assert ATTRIBUTES["shape"][targets[names.index("shape")] - 1] == "star"
    assert ATTRIBUTES["colour"][targets[names.index("colour")] - 1] == "red"
    assert targets[names.index("place")] == 0
    assert targets[count : 2 * count] == [0] * count
    assert ATTRIBUTES["colour"][targets[-1] - 1] == "white"


def test_the_second_thing_has_its_own_targets() -> None:
    first, second = {"shape": "ring"}, {"shape": "heart"}
    assert reading_targets([first, second], None) != reading_targets([second, first], None)
