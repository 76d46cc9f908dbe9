"""The ten classes of the pocket scale, those of Fashion-MNIST."""

from __future__ import annotations

from dataclasses import dataclass

from datagen.recipes.prompt_styles import definition_prompt


@dataclass(frozen=True)
class PocketClass:
    """One class of the pocket world.

    Attributes:
        name: Readable name, as prompts spell it.
        wordnet_id: WordNet identifier of the noun, under which timm ships a definition.
    """

    name: str
    wordnet_id: str

    @property
    def prompt(self) -> str:
        """The caption the generator is trained on: the name, a comma and WordNet's definition.

        Raises:
            InputError: The installed timm does not define this class.
        """
        return definition_prompt(self.name, self.wordnet_id)


# In the order of Fashion-MNIST's labels 0 to 9. Two choices needed judgement. Fashion-MNIST's bags are handbags, so
# "bag" is the handbag and not the "flexible container with a single opening". WordNet has no ankle boot, so "ankle
# boot" takes the definition of the boot.
CLASSES: tuple[PocketClass, ...] = (
    PocketClass("T-shirt", "n03595614"),
    PocketClass("trouser", "n04489008"),
    PocketClass("pullover", "n04021028"),
    PocketClass("dress", "n03236735"),
    PocketClass("coat", "n03057021"),
    PocketClass("sandal", "n04133789"),
    PocketClass("shirt", "n04197391"),
    PocketClass("sneaker", "n03472535"),
    PocketClass("bag", "n02774152"),
    PocketClass("ankle boot", "n02872752"),
)
"""The ten classes, in the order of their labels."""
