"""The plain words that a text about a pair may use beside those that claim something.

Whatever is in no list can't be read, and might turn a true sentence into a false one; so a text
with it fails. Knows no pair.
"""

from __future__ import annotations

from adcopilot_edge.training.chat_ad.teacher import lexicon
from adcopilot_edge.training.chat_ad.teacher.lexicon import stem, word_set

_FUNCTION_WORDS = word_set("""
    a about across after again against along also although am among an and any are around as at be
    because been before being between both but by can could did do does doing done down during
    each either elsewhere etc even every everything few for from further given had has have having
    he her here hence his how however i if in into is it its itself just let like many may me
    might more most much must my namely near nearby neither no nor not nothing now of on one only
    onto or other our over own part per please quite rather s same she should since so some such
    than that the their them then there therefore thereby these they this those though through
    thus to together too toward towards up upon us very via was we well were what when where
    whereas wherever whether which while who whole whose why will with within without would yes
    yet you your t re ve ll d free absent absence devoid lack lacks none nothing neither clear
    """)
_VERBS = word_set("""
    affect allow appear ask assess belong break bring call carry catch check come compare conclude
    confirm consider consist contain correspond cover cross describe detect determine differ
    discern display distinguish draw end examine exhibit exist explain express extend fall feature
    find focus follow get give happen hold identify indicate inspect introduce keep know label
    lead lie list locate look make mark mean mention name note notice observe occupy occur
    overview place point position present provide reach recognise recognize refer regard relate
    remain report represent reveal run say see seem serve set shift show shown sit situate stand
    start state stay stretch suffer summarise summarize surround tell touch turn view appear found
    seen lies lying located given known run ran comes held kept made said told stood lay went
    begin began begun visible arise concern constitute exhibit characterise characterize classify
    """)
_ADVERBS = word_set("""
    additionally accordingly actually altogether approximately certainly clearly closely
    consequently directly distinctly easily evidently exactly finally generally however
    immediately indeed mainly mostly namely noticeably obviously only overall particularly plainly
    precisely predominantly primarily readily respectively roughly similarly simply slightly
    somewhat specifically significantly there thereby visibly visually well noticeably markedly
    considerably fully completely entirely totally perfectly relatively already still
    """)
_NOUNS = word_set("""
    answer appearance area aspect attention band body brightness case category centre check class
    close closer comparison condition context contour contrast corner description detail direction
    edge element evidence example extent fact feature finding form ground half hand image
    inspection item kind left letter line location look matter metal middle model name note number
    object observation option outline overview pair part piece pattern photo picture place plastic
    point portion position product quality query question reference region relation report rest
    result right sample section shape side sign size sort spot state structure summary surface
    surrounding template term test texture thing tone top trace type unit user verdict view way
    word zone golden input lower upper bottom north south east west piece component material
    thread contents expectation inspector respect terms nature difference
    """)
_ADJECTIVES = word_set("""
    available clear close corresponding detectable different discernible distinct evident further
    given individual local main next noticeable obvious overall own particular present previous
    respective same second several shown similar single specific such surrounding total unique
    various visible visual whole apparent remaining additional certain general opposite adjacent
    perceptible following above below
    """)
_LISTS = (
    lexicon.THINGS, lexicon.GENERIC, lexicon.NORMAL, lexicon.VAGUE, lexicon.NEUTRAL,
    lexicon.EXCEPTIONS, lexicon.HEDGES, frozenset(lexicon.PLACES), lexicon.PLACE_GAPS,
    lexicon.UNCHECKED_PLACES, lexicon.CORNERS, lexicon.EDGES, frozenset(lexicon.SIZES),
    frozenset(lexicon.CONTRASTS), frozenset(lexicon.SHAPES), lexicon.DIRECTIONS, lexicon.COLOURS,
    lexicon.UNCHECKED, frozenset(lexicon.NUMBERS), lexicon.SEVERAL, lexicon.SINGLE,
    _FUNCTION_WORDS, _VERBS, _ADVERBS, _NOUNS, _ADJECTIVES,
)  # fmt: skip
_WORDS = frozenset(word for words in _LISTS for word in words)
_STEMS = (
    frozenset(stem(word) for word in _WORDS) | lexicon.THINGS | lexicon.GENERIC | lexicon.NORMAL
)


def is_known(word: str) -> bool:
    """Whether any list has the word or a form of it; signs and numbers are known."""
    return not word.isalpha() or word in _WORDS or stem(word) in _STEMS
