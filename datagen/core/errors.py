"""The one exception for mistakes that a user can fix."""


class InputError(Exception):
    """A mistake of the user's or of the world around the program: shown as one sentence, exit code 2, no traceback.

    The message says what is wrong and what to do about it.
    """
