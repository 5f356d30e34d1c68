"""The phrases that captions of training scenes are made of; knows nothing of drawings or pixels.

Curly brackets are gaps. `{word}` is any English word that names nothing the painter can draw.
"""

PLACES = {
    "sea": ("on the sea", "on a lake", "on a river", "on the water", "near the ocean", "on a quiet pond", "in a bay"),
    "beach": ("on a beach", "at the seashore", "on the coast", "by the seaside", "on the shore"),
    "field": ("in a field", "in a meadow", "on the grass", "in a park", "in a garden", "on a farm", "on a green lawn"),
    "desert": ("in the desert", "in the dunes", "on hot sand", "in a dry desert"),
    "snow": ("in the snow", "in winter", "on a snowy day", "in the arctic", "in the tundra"),
    "room": ("in a room", "in a kitchen", "in a bedroom", "in a library", "indoors", "in a classroom", "in an office"),
    "forest": ("in a forest", "in the woods", "in the jungle", "in a woodland"),
    "city": ("in a city", "on a street", "in a town", "on a busy road", "downtown"),
    "underwater": ("underwater", "on a reef", "on the seabed"),
    "table": ("on a table", "on a wooden table", "on a desk", "on the counter"),
}
PLACE_NAMES = {
    "sea": ("sea", "lake", "water", "ocean"), "beach": ("beach", "shore", "coast"),
    "field": ("field", "meadow", "grass", "garden"), "desert": ("desert", "dunes"), "snow": ("snow", "winter"),
    "room": ("room", "kitchen", "interior"), "forest": ("forest", "woods", "jungle"),
    "city": ("city", "street", "town"), "underwater": ("underwater", "reef"), "table": ("table",),
}  # fmt: skip
LIGHTS = {
    "night": ("at night", "at midnight", "on a starry night", "in the evening", "during the night"),
    "sunset": ("at sunset", "at dusk", "at dawn", "at sunrise", "at twilight"),
    "space": ("in space", "in the galaxy", "in the universe"),
    "day": ("at noon", "in the morning", "on a sunny day", "by daylight", "during the day"),
}
LIGHT_NAMES = {
    "night": ("night", "midnight"), "sunset": ("sunset", "dusk", "dawn", "sunrise"), "space": ("space", "galaxy"),
    "day": ("day", "daylight"),
}  # fmt: skip
COLOUR_NAMES = {
    "red": ("red", "crimson"), "orange": ("orange",), "yellow": ("yellow", "golden"), "green": ("green", "emerald"),
    "blue": ("blue", "azure"), "purple": ("purple", "violet"), "pink": ("pink",), "brown": ("brown",),
    "white": ("white",), "grey": ("grey", "gray"), "black": ("black",),
}  # fmt: skip
COUNT_NAMES = {
    1: ("a", "one", "a single"), 2: ("two", "a pair of", "2"), 3: ("three", "3", "a few", "some"),
    4: ("four", "4", "several", "a group of"), 5: ("five", "5"), 6: ("six", "6"), 7: ("seven",), 8: ("eight", "8"),
}  # fmt: skip
RELATION_NAMES = {
    "left": ("to the left of", "left of"), "right": ("to the right of", "right of"), "on": ("on", "on top of", "upon"),
    "in": ("in", "inside"), "above": ("above", "over"), "behind": ("behind",), "front": ("in front of",),
    "near": ("next to", "beside", "near", "with"),
}  # fmt: skip
SIZE_NAMES = ("big", "large", "small", "little", "tiny", "huge", "tall")
ADJECTIVES = (
    "happy", "old", "young", "beautiful", "quiet", "lonely", "shiny", "friendly", "proud", "curious", "gentle",
    "bright", "strange", "ancient", "lovely", "simple", "careful", "famous", "lazy", "clever", "noisy", "soft",
    "special", "perfect", "ordinary", "delicate", "cheerful", "sleepy", "brave", "amazing", "graceful",
)  # fmt: skip
VERBS = (
    "standing", "sitting", "resting", "waiting", "playing", "lying", "sleeping", "moving", "walking", "running",
    "posing", "appearing", "looking", "dancing", "working", "growing", "shining", "gathered", "placed", "shown",
    "seen", "found",
)  # fmt: skip
OPENINGS = (
    "a picture of", "a drawing of", "an illustration of", "an image of", "the picture shows", "here is", "we see",
    "the scene shows", "this is", "you can see", "a view of", "look at", "imagine", "a simple illustration showing",
)  # fmt: skip
THERE = ("there is", "there are", "we see", "you can see", "one can find", "stands", "appear", "is")
NEARBY = ("Nearby there is", "Also visible:", "Besides that, we see", "There is also", "It comes with", "Beside it is")
# What a very small language model writes around the things that it names.
BEFORE = (
    "A {word} way to {word} is {word} and {word}.",
    "People {word} the {word} of {word} every time they {word}.",
    "It is {word} to {word} with {word} and {word} each {word}.",
    "A moment of {word} {word}.",
    "When they {word} the {word}, it becomes {word}.",
    "The {word} of {word} is a symbol of {word}.",
    "{word} and {word} bring {word} to everyone who has {word}.",
    "This {word} is {word}, {word} and very {word}.",
)
AFTER = (
    "It is a {word} of {word} and {word}.",
    "They {word} it with their own {word}.",
    "The whole {word} feels {word} and {word}.",
    "Everyone can {word} the {word} without {word}.",
    "This makes it {word} to {word}.",
    "It shows how {word} {word} can be.",
    "You may {word} them as {word} in your {word}.",
    "The {word} is made of {word} that was {word} by {word}.",
)
AROUND = (
    "a {word} of {word} erupts as {things}",
    "{things} that {word} the {word}",
    "{things}, which are {word} and {word}",
    "{things} in the shape of {word}",
    "{things} with a {word} of {word}",
    "the {word} of {things}",
    "{things} is a symbol of {word}",
    "a {word} made of {word}, and {things}",
    "using {word} to {word} {things}",
)
EMPTY = (
    "{word} and {word} for all {word}.",
    "A {word} idea to make {word} out of {word}.",
    "A simple {word} that can be {word} to create {word}.",
    "The {word} of {word}.",
    "A {word} {word} that {word} the {word} of {word}.",
    "Freedom of {word} in a {word} {word}.",
)
