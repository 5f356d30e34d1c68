"""The words that the procedural painter knows beyond the names of its drawings; knows nothing of layout or pixels."""

_STOP_TEXT = """
a an the this that these those there here it its they their them he his him she her we our you your i my and
or but nor so as than then while where which who whose what when with without of in on at by to from into onto
for over above under below beneath beside between behind near next across along around through against off up
down out upon within inside outside toward towards front back side left right top bottom middle center centre
each is are was were be been being am has have had having do does did can could will would shall should may
might must not no very quite also too just only some any all both other another together image picture photo
photograph illustration drawing scene view background foreground showing shows depicting
"""
STOP_WORDS = frozenset(_STOP_TEXT.split())

COUNTS = {
    "a": 1, "an": 1, "one": 1, "single": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7,
    "eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "pair": 2, "couple": 2, "both": 2, "dozen": 12,
    "hundred": 100,
}  # fmt: skip
VAGUE_COUNTS = {
    "few": 3, "some": 3, "several": 4, "group": 4, "row": 4, "bunch": 4, "many": 5, "flock": 5, "herd": 4, "lots": 6,
    "numerous": 6, "various": 4, "dozens": 9, "hundreds": 12,
}  # fmt: skip
SIZES = {
    "tiny": 0.55, "little": 0.7, "small": 0.7, "miniature": 0.55, "big": 1.35, "large": 1.35, "huge": 1.7, "giant": 1.8,
    "enormous": 1.8, "tall": 1.25,
}  # fmt: skip
ZONE_WORDS = {
    "flying": "sky", "soaring": "sky", "hovering": "sky", "gliding": "sky", "swimming": "water", "sailing": "water",
}  # fmt: skip

COLOURS = {
    "red": "red", "crimson": "red", "scarlet": "red", "orange": "orange", "yellow": "yellow", "golden": "yellow",
    "gold": "yellow", "green": "green", "emerald": "green", "blue": "blue", "navy": "blue", "turquoise": "blue",
    "teal": "blue", "cyan": "blue", "azure": "blue", "purple": "purple", "violet": "purple", "lavender": "purple",
    "pink": "pink", "magenta": "pink", "brown": "brown", "wooden": "brown", "tan": "brown", "beige": "brown",
    "white": "white", "cream": "white", "grey": "grey", "gray": "grey", "silver": "grey", "black": "black",
    "colorful": "mixed", "colourful": "mixed", "multicolored": "mixed",
}  # fmt: skip

GROUNDS = {
    "sea": "sea waves wave ocean water lake river harbor harbour pond bay sailing",
    "beach": "beach shore seashore coast coastline seaside",
    "field": "grass field fields park meadow lawn garden hill hills farm countryside yard pasture valley grassy ground",
    "desert": "desert sand dune dunes savanna",
    "snow": "snow snowy winter arctic frozen icy tundra",
    "room": "room indoors indoor kitchen bedroom bathroom classroom office library restaurant cafe wall floor "
    "interior workshop bakery laboratory lab studio",
    "forest": "forest woods woodland jungle rainforest",
    "city": "city street road town sidewalk downtown skyline urban highway",
    "underwater": "underwater reef seabed",
}
LIGHTS = {
    "day": "day sky daylight sunny horizon daytime morning noon",
    "night": "night nighttime midnight starry moonlit evening",
    "sunset": "sunset sunrise dusk dawn twilight",
    "space": "space galaxy universe cosmos planets",
}
TABLES = frozenset({"table", "tabletop", "desk", "counter", "countertop", "shelf"})
NATURAL_TINTS = {
    "sea": "blue green grey", "beach": "yellow white blue", "field": "green", "desert": "yellow brown orange",
    "snow": "white", "forest": "green", "city": "grey", "underwater": "blue", "day": "blue", "night": "black blue",
    "sunset": "orange red pink yellow purple", "space": "black", "table": "brown",
}  # fmt: skip

RELATIONS = {
    "on": "on", "onto": "on", "upon": "on", "atop": "on", "on top of": "on", "riding": "on",
    "in": "in", "inside": "in", "into": "in",
    "above": "above", "over": "above", "under": "below", "below": "below", "beneath": "below", "underneath": "below",
    "behind": "behind", "in front of": "front", "before": "front",
    "left of": "left", "to the left of": "left", "on the left of": "left",
    "right of": "right", "to the right of": "right", "on the right of": "right",
    "beside": "near", "next to": "near", "near": "near", "by": "near", "at": "near", "with": "near", "from": "near",
}  # fmt: skip
SIDES = {
    "on the left": "left", "to the left": "left", "on the right": "right", "to the right": "right",
    "on the left side": "left", "on the right side": "right",
}  # fmt: skip

IRREGULAR_PLURALS = {
    "children": "child", "men": "man", "women": "woman", "people": "person", "mice": "mouse", "geese": "goose",
    "leaves": "leaf", "knives": "knife", "wolves": "wolf", "oxen": "ox", "teeth": "tooth", "feet": "foot",
    "loaves": "loaf", "shelves": "shelf", "scarves": "scarf", "cacti": "cactus", "calves": "calf", "elves": "elf",
    "octopi": "octopus", "shoes": "shoe", "pies": "pie", "ties": "tie", "cookies": "cookie", "movies": "movie",
    "candies": "candy", "buses": "bus", "lenses": "lens", "canoes": "canoe", "doves": "dove", "axes": "axe",
    "zombies": "zombie", "hippos": "hippo", "rhinos": "rhino", "pianos": "piano", "photos": "photo",
    "avocados": "avocado", "flamingos": "flamingo", "burritos": "burrito", "tacos": "taco", "kangaroos": "kangaroo",
    "brownies": "brownie", "pants": "pants", "gas": "gas", "bus": "bus", "cactuses": "cactus", "cactus": "cactus",
    "octopuses": "octopus",
    "octopus": "octopus", "glasses": "glasses", "clothes": "clothes",
}  # fmt: skip

# Further names of drawings: "other words, one more=name of the drawing".
SYNONYMS = """
apple=red apple; kitten, kitty=cat; puppy, hound=dog; bunny, hare=rabbit; pony, foal, stallion, mare=horse; calf=cow
sheep, lamb=ewe; goldfish=tropical fish; bee, bees=honeybee; ladybug, ladybird=lady beetle; hen=chicken
chick=baby chick; squirrel=chipmunk; parakeet=parrot; seagull, gull, pigeon=dove; hawk, falcon=eagle
sparrow, robin=bird; crow, raven=black bird; caterpillar=bug; housefly=fly; hippo=hippopotamus; rhino=rhinoceros
alligator=crocodile; tortoise, sea turtle=turtle; dinosaur=sauropod; serpent=snake; starfish=star
seashell, shell, conch=spiral shell; prawn=shrimp; killer whale=orca; fawn=deer; reindeer=deer; bull=ox
buffalo=water buffalo; ape=gorilla; moon=full moon; half moon=first quarter moon; crescent=crescent moon
planet, saturn=ringed planet; lightning, lightning bolt, thunderbolt=high voltage
rain cloud, storm cloud=cloud with rain; storm=cloud with lightning; earth, globe, world=globe showing Europe-Africa
ufo, spaceship=flying saucer; meteor=comet; raindrop, drop of water=droplet; tree, oak=deciduous tree
pine, pine tree, fir, spruce, conifer=evergreen tree; bare tree=leafless tree; palm=palm tree; flower, daisy=blossom
bush, shrub=leafy green; sprout, sapling=seedling; leaf=leaf fluttering in wind; clover=shamrock
autumn leaf, dry leaf=fallen leaf; houseplant, plant, pot plant=potted plant; wheat, grain=sheaf of rice
log, timber=wood; stone, boulder=rock; hill top, peak=mountain; cliff=mountain; mount=mountain; fuji=mount fuji
island=desert island; home, cottage, cabin=house; village=houses; building, office=office building
skyscraper, tower block=office building; belfry=tower; temple=classical building; museum=classical building
shop, store=convenience store; fort, palace=castle; barn, shed=hut; circus=circus tent
mill, windmill, wind turbine=wind turbine; chapel=church; cathedral=church; car, sedan=automobile
jeep, suv=sport utility vehicle; truck, lorry=articulated lorry; van=minibus; pickup=pickup truck
fire truck=fire engine; motorbike=motorcycle; bike=bicycle; scooter=kick scooter; moped=motor scooter
plane, jet, aeroplane=airplane; biplane=small airplane; boat, sailing boat, sail boat, yacht=sailboat
rowboat, rowing boat, kayak=canoe; cruise ship=passenger ship; motorboat=motor boat; steam train, engine=locomotive
subway=metro; hot air balloon=balloon; spacecraft=rocket; shuttle=rocket; streetcar=tram; chopper=helicopter
cab=taxi; race car=racing car; lifebuoy=ring buoy; traffic light=vertical traffic light
guy, gentleman, father, dad=man; lady, mother, mom=woman; kid, toddler=child; grandmother, grandma=old woman
grandfather, grandpa=old man; chef, baker=cook; fisherman=person rowing boat; surfer=person surfing
swimmer=person swimming; runner, jogger=person running; cyclist, biker=person biking; dancer=woman dancing
wizard, witch=mage; soldier=guard; policeman, policewoman, cop=police officer; fireman=firefighter
worker, builder=construction worker; fruit=red apple; vegetable=carrot; fruit salad, salad=green salad
orange, mandarin, clementine=tangerine; grape=grapes; cherry=cherries; blueberry=blueberries
pepper, red pepper=bell pepper; chili, chilli=hot pepper; corn, maize=ear of corn; aubergine=eggplant
pumpkin=jack-o-lantern; pea, peas=pea pod; bean=beans; peanut, nut=peanuts; lettuce, cabbage, spinach=leafy green
kiwi=kiwi fruit; turnip, radish, beet=root vegetable; sweet potato=roasted sweet potato; toadstool=mushroom
loaf, loaf of bread, slice of bread, toast=bread; baguette=baguette bread; cheese=cheese wedge; burger=hamburger
fries=french fries; pasta, noodle, noodles=spaghetti; soup, bowl of soup=steaming bowl
rice, bowl of rice=cooked rice; steak=cut of meat; meat=meat on bone; drumstick=poultry leg; cake=birthday cake
slice of cake=shortcake; donut=doughnut; chocolate=chocolate bar; sweets=candy; popsicle, gelato=ice cream
biscuit=cookie; muffin=cupcake; honey=honey pot; pancake=pancakes; fried egg=cooking; omelette=cooking; tart=pie
jam=jar; coffee, tea, cup of coffee, cup of tea, mug, cup, hot chocolate, cocoa=hot beverage; milk=glass of milk
glass=tumbler glass; beer=beer mug; wine=wine glass; cocktail=cocktail glass; juice, soda=cup with straw
lemonade=tropical drink; kettle=teapot; champagne=bottle with popping cork; bottle, water bottle=bottle
bowl=bowl with spoon; plate, dish=fork and knife with plate; fork, knife and fork=fork and knife
knife=kitchen knife; pan, frying pan=cooking; pot, saucepan=pot of food; vase, urn, jug=amphora
ball, football=soccer ball; teddy, stuffed bear=teddy bear; doll=nesting dolls; dice, die=game die
puzzle=puzzle piece; toy=teddy bear; gift, present, parcel, gift box=wrapped gift; box, cardboard box=package
sack, pouch=money bag; bag=handbag; suitcase=luggage; trunk=treasure chest; book=closed book; letter, mail=envelope
map=world map; paper, sheet of paper=page facing up; painting=framed picture; photo frame, portrait=framed picture
brush=paintbrush; paint, palette=artist palette; ruler=straight ruler; lamp, bulb=light bulb
lantern=red paper lantern; clock=mantelpiece clock; wristwatch=watch; hourglass=hourglass done
sofa, couch=couch and lamp; armchair=armchair; stool=chair; desk=table; bath, tub=bathtub; tv=television
screen=television; computer=desktop computer; monitor=desktop computer; phone, smartphone, cellphone=mobile phone
headphones, earphones=headphone; magnifying glass=magnifying glass tilted left; torch=flashlight
lock, padlock=locked; chain=chains; gears, cog=gear; spade=shovel; saw=carpentry saw; bow=bow and arrow
sword=crossed swords; potion=alembic; flask=test tube; piano, keyboard instrument=musical keyboard
music, note=musical note; fiddle=violin; horn=postal horn; hat=top hat; cap=billed cap
shirt, tshirt, t shirt=t-shirt; pants, trousers=jeans; shoe, sneaker, sneakers=running shoe; boot, boots=hiking boot
sandal=thong sandal; heels=high-heeled shoe; tie=necktie; mittens, glove=gloves; sock=socks
swimsuit=one-piece swimsuit; spectacles=glasses; parasol=umbrella on ground; beach umbrella=umbrella on ground
heart=red heart; flag=triangular flag; tyre, tire=wheel; trash can, bin=wastebasket; mailbox=postbox
fence=construction; slide=playground slide; carousel=carousel horse; campfire, bonfire, flame=fire
firework=fireworks; diamond, gem, jewel=gem stone; necklace=prayer beads; treasure=treasure chest; snowball=snowman
skeleton=skull; cobweb, web=spider web; nest=nest with eggs; beehive=honey pot; hay=sheaf of rice
scales=balance scale; medal=sports medal; fishing rod=fishing pole; sledge=sled; skates=ice skate
racket, tennis ball=tennis; pyramid=pyramids; beacon=lighthouse; solar panels=solar panel; temple ruins=greek temple
eiffel=eiffel tower; signs=signpost
"""

# Drawings that Unicode has no emoji for: name = code point in OpenMoji's private use area.
EXTRA_DRAWINGS = {
    "lighthouse": "E212", "pyramids": "E20F", "bottle": "E0CB", "armchair": "E141", "table": "E200",
    "wind turbine": "E2D1", "nurse": "E302", "doctor": "E300", "signpost": "E094", "wheelbarrow": "E344",
    "lawn mower": "E343", "solar panel": "E1D6", "washing machine": "E1CF", "tower": "E208", "eiffel tower": "E205",
    "greek temple": "E215", "coffee bean": "E0C6", "coffee machine": "E155", "moka pot": "E152", "helmet": "E14A",
    "iceberg": "E2C0", "drone": "E1D2", "space shuttle": "E20B", "gardener": "E340",
}  # fmt: skip


def names_of(text: str) -> frozenset[str]:
    """The names in a text that parts them by bars."""
    return frozenset(text.split("|"))
