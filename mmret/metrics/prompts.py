"""Sentences made from class labels, by the rules of the papers whose figures are compared with.

Figures compare only between equal prompts, so the sentences belong in every result file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

DEFAULT_TEMPLATE = "{label} can be heard"

TEMPLATES = {
    "bare": "{label}",
    "can_be_heard": DEFAULT_TEMPLATE,
    "laion_sound": "This is a sound of {label}.",
    "laion_music": "This audio is a {label} song.",
    "glap_sound": "The sound of {label} can be heard.",
    "glap_music": "The music in the style of {label}.",
    "glap_speech": "{label}",
}

_CREMA_D_EMOTIONS = {
    "ANG": "angry person talking",
    "DIS": "someone talking in disgust",
    "FEA": "someone talking with a sense of fear",
    "HAP": "someone talking happily and joyfully",
    "NEU": "someone talking calmly",
    "SAD": "someone talking sadly",
}

# NTT's EVAR: some tasks turn the label into a phrase before the sentence is made
_EVAR_PHRASES: dict[str, Callable[[str], str]] = {
    "gtzan": lambda label: f"{label} music",
    "nsynth": lambda label: f"the musical instrument sound of {label}",
    "cremad": lambda label: _CREMA_D_EMOTIONS[label],
}


def caption(label: str, template: str = DEFAULT_TEMPLATE) -> str:
    """A sentence about one label; underscores are blanks, `template` is a sentence with {label} or a known name.

    >>> caption("brushing_teeth")
    'brushing teeth can be heard'
    >>> caption("rain", "laion_sound")
    'This is a sound of rain.'
    """
    sentence = TEMPLATES.get(template, template)
    if "{label}" not in sentence:
        known = ", ".join(TEMPLATES)
        raise ValueError(f"prompt {template!r} lacks {{label}}, the place of the class; known names are {known}")
    return sentence.replace("{label}", label.replace("_", " "))


def evar_caption(label: str, task: str) -> str:
    """The sentence that NTT's EVAR makes of a label of one of its tasks (esc50, us8k, gtzan, nsynth, cremad, fsd50k).

    >>> evar_caption("blues", "gtzan")
    'blues music can be heard'
    """
    return caption(_EVAR_PHRASES.get(task, str)(label))


def class_prompts(labels: Iterable[str], templates: Sequence[str] = (DEFAULT_TEMPLATE,)) -> list[list[str]]:
    """Sentences of every class, one list a class with one sentence a template.

    >>> class_prompts(["dog", "sea_waves"], ["bare", "the sound of {label}"])
    [['dog', 'the sound of dog'], ['sea waves', 'the sound of sea waves']]
    """
    return [[caption(label, template) for template in templates] for label in labels]
