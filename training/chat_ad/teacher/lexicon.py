"""The English words that claims about parts are made of, by what they claim.

Words of defects stand here by their stems, so that ``scratch``, ``scratches`` and ``scratched`` are
one. Knows no pair and reads no text.
"""

from __future__ import annotations

import re
from functools import lru_cache

_SPELLINGS = {
    "center": "centre",
    "centers": "centres",
    "centered": "centred",
    "color": "colour",
    "colors": "colours",
    "colored": "coloured",
    "gray": "grey",
    "fiber": "fibre",
    "mold": "mould",
    "okay": "ok",
    "anomalies": "anomaly",
}
_IRREGULAR = {
    "bent": "bend",
    "broken": "break",
    "broke": "break",
    "torn": "tear",
    "tore": "tear",
    "worn": "wear",
    "burnt": "burn",
    "corroded": "corrosion",
    "rusty": "rust",
    "rusted": "rust",
    "dirty": "dirt",
    "porous": "pore",
    "teeth": "tooth",
    "modified": "modify",
}
_SUFFIXES = ("ations", "ation", "ating", "ated", "ings", "ing", "ies", "ed", "es", "s")
_DOUBLED = re.compile(r"([bdgmnprt])\1$")


def spelled(word: str) -> str:
    """The word as it is spelled here."""
    for start in ("discolor", "miscolor"):
        if word.startswith(start):
            return word.replace("color", "colour", 1)
    return _SPELLINGS.get(word, word)


@lru_cache(maxsize=1 << 16)
def stem(word: str) -> str:
    """What the forms of a word have in common; no word by itself."""
    word = spelled(word)
    word = _IRREGULAR.get(word, word)
    for suffix in _SUFFIXES:
        root = word.removesuffix(suffix)
        if root != word and len(root) >= 3 and not (suffix == "s" and root[-1] in "siu"):
            word = root + "y" if suffix == "ies" else root
            break
    word = _DOUBLED.sub(r"\1", word)
    return word.removesuffix("e") if len(word) > 3 else word


def word_set(words: str) -> frozenset[str]:
    """The words of a text that spaces part."""
    return frozenset(words.split())


def _stems(words: str) -> frozenset[str]:
    return frozenset(stem(word) for word in word_set(words))


THINGS = _stems("""
    abrasion adhesive blister blotch blowhole breakage bruise bubble bulge bump burn burr cavity
    chip cleft collapse contamination contaminant corrosion crack crater crazing crease crush cut
    debris deform delamination dent deposit dimple ding dirt discolour discolouration displace
    distort distortion dust encrustation erosion excess fade fissure flake flash fleck fold
    foreign fracture fray gap glue gouge grease grime groove hole inclusion indent kink leak
    leakage lint lump manipulate melt misalign misalignment misplace misprint missing mould
    mousebite nick notch overlap oxidation oxide particle peel perforation pimple pinhole pit poke
    pore porosity protrude protrusion puncture residue rip rot rub rupture rust scab scale scorch
    scrape scratch scuff shear sliver smear smudge snag spall speck speckle spill splash splatter
    splinter split spur squeeze stain streak striation swap swelling tamper tarnish tear twist
    void warp wear wormhole wrinkle break bend flip shift burst snap sag slit
    """)
"""What may be wrong with a part; a label's own words come before them."""

GENERIC = _stems("""
    defect defective flaw flawed fault faulty anomaly anomalous abnormal abnormality imperfection
    imperfect blemish irregularity deviation deviate deviant difference differ different
    discrepancy damage problem issue nonconformity inconsistency mistake error reject rejection
    fail failure ng unacceptable unusable alteration alter change modify modification unlike
    mismatch wrong bad unexpected unusual strange odd amiss atypical suspicious compromised
    impaired unsound malfunction off something off something nonconforming incorrect disturbance
    disruption interruption
    """)
"""That something is wrong, or differs from the template, without saying what."""

NORMAL = _stems("""
    normal intact flawless faultless undamaged unblemished perfect good ok acceptable immaculate
    pristine identical same match unchanged unaltered unmarked spotless healthy conform consistent
    pass indistinguishable equal clean smooth uniform unbroken complete whole uncontaminated
    unscratched proper correct expected agree similar regular alright sound equivalent
    uncompromised unimpaired impeccable coincide unharmed untouched fine harmless negligible
    irrelevant tolerable intended intentional benign insignificant uncritical unproblematic
    authentic genuine accept approve usable use used serviceable functional standard typical
    ordinary usual accept approve usable use used serviceable functional
    """)
"""That nothing is wrong, or that it looks as the template."""

VAGUE = _stems("""
    mark spot line area region patch trace point zone feature structure blob dot
    """)
"""What a defect may be called in passing; on a normal part it would be one."""

EXCEPTIONS = word_set("""
    otherwise elsewhere rest remaining remainder apart aside except besides other further
    additional else more excluding beyond another
    """)
"""What says that more, or all but something, is meant."""

HEDGES = word_set("""
    might may could perhaps possibly maybe probably likely unlikely potentially potential possible
    presumably if unless whether would should suspected supposedly assume assuming unclear unsure
    uncertain doubtful questionable allegedly
    """)

PLACES = {
    **dict.fromkeys(("upper", "top", "uppermost", "topmost", "north", "northern"), "upper"),
    **dict.fromkeys(("lower", "bottom", "lowermost", "south", "southern"), "lower"),
    **dict.fromkeys(("left", "leftmost", "lefthand", "west", "western"), "left"),
    **dict.fromkeys(("right", "rightmost", "righthand", "east", "eastern"), "right"),
    **dict.fromkeys(
        ("centre", "centres", "central", "centrally", "centred", "middle", "mid", "midpoint"),
        "centre",
    ),
    "northwest": "upper left",
    "northeast": "upper right",
    "southwest": "lower left",
    "southeast": "lower right",
    "topleft": "upper left",
    "topright": "upper right",
    "bottomleft": "lower left",
    "bottomright": "lower right",
    "upperleft": "upper left",
    "upperright": "upper right",
    "lowerleft": "lower left",
    "lowerright": "lower right",
}
"""Words of the 3x3 grid, as one or two of its own."""

PLACE_GAPS = word_set("""
    of the hand side part portion section third region area edge border corner most far quadrant
    image picture zone end very rim margin
    """)
"""What may stand between two words of one place."""

UNCHECKED_PLACES = word_set("""
    above below beneath underneath beside quadrant clock everywhere throughout entire entirely
    overall widespread inside outside alongside adjacent vertically horizontally diagonal
    diagonally downwards upwards downward upward sideways majority half quarter mostly full most
    opposite
    """)
"""Places that neither a grid nor a box can tell."""

CORNERS = frozenset(("corner", "corners"))
EDGES = word_set("edge edges border borders rim margin periphery perimeter boundary")

SIZES = {
    **dict.fromkeys(word_set("tiny minute minuscule microscopic minimal"), "tiny"),
    **dict.fromkeys(word_set("small little slight minor smallish"), "small"),
    **dict.fromkeys(word_set("medium moderate moderately midsized"), "medium"),
    **dict.fromkeys(
        word_set("""
            large big huge extensive massive sizeable sizable enormous gigantic substantial giant
            vast major
            """),
        "large",
    ),
}
CONTRASTS = {
    **dict.fromkeys(word_set("dark darker darkened blackish black blackened"), "darker"),
    **dict.fromkeys(
        word_set("bright brighter brightened light lighter pale paler whitish white"), "brighter"
    ),
}
SHAPES = {
    **dict.fromkeys(word_set("elongated long linear stretched narrow thin slender"), "elongated"),
    **dict.fromkeys(word_set("compact round roundish circular rounded spherical"), "compact"),
    **dict.fromkeys(word_set("irregular jagged ragged irregularly"), "irregular"),
    **dict.fromkeys(word_set("scattered dispersed spread"), "scattered"),
}
DIRECTIONS = word_set("horizontal vertical")
UNCHECKED = word_set("""
    deep shallow severe serious critical dangerous fresh old curved straight sharp blurred wide
    broad short thick parallel perpendicular glossy shiny matte dull transparent metallic caused
    causes due heavy strong weak hot cold wet dry raised sunken rough soft hard
    """)
"""What neither a mask nor a label can tell of a defect."""
COLOURS = word_set("""
    red reddish green greenish blue bluish yellow yellowish brown brownish orange purple violet
    pink grey greyish silver silvery golden gold copper beige cyan magenta turquoise
    """)

_COUNTING = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty"
)
NUMBERS = {
    **{word: number for number, word in enumerate(_COUNTING.split())},
    **dict.fromkeys(("both", "twin", "double", "twice", "pair", "couple"), 2),
    "triple": 3,
    "dozen": 12,
    "hundred": 100,
}
SEVERAL = word_set(
    """
    several multiple numerous many few various dozens hundreds another second third
    """
)
"""What says that there are two or more."""
SINGLE = word_set("single sole only lone solitary")

NEUTRAL = _stems("""
    image picture sample part product object item piece component surface template reference view
    comparison inspection query test look result way sign indication evidence place position
    location shape size tone colour contrast appearance texture pattern background side edge
    corner border match kind type sort form photo photograph body whole letter answer pair case
    clear background surrounding environment neighbourhood rest centre middle top bottom left
    right half upper lower area region thing question verdict option quality condition difference
    change anomaly brightness outline extent kind direction height width
    """)
"""What an indefinite article may introduce without a claim about a defect."""
