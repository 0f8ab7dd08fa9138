"""Writes the training corpus: short children's stories grown from a seeded grammar.

A plot is a text with choices, `[this|that]`, which may nest, and slots, `{hero}`. Slots
that depend on each other (a kite flies, a ball is thrown) are chosen together as one row
of the plot's table, so every story stays true to itself. All the text is written for
this project; the output may be passed on under the project's own licence.

    python corpus.py --stories 60000 --seed 7 --output corpus.txt
"""

import argparse
import random
import re

from plots_alone import PLOTS as ALONE
from plots_errands import PLOTS as ERRANDS
from plots_friends import PLOTS as FRIENDS
from words import ANIMALS, BOYS, CHILD_HOMES, GIRLS, MACROS

PLOTS = ALONE + FRIENDS + ERRANDS
KINDS = [row[0] for row in ANIMALS]
SEPARATOR = "<|endoftext|>"

INNERMOST = re.compile(r"\[([^\[\]]*)\]")
SLOT = re.compile(r"\{(\w+)\}")


def pronouns(prefix, girl):
    """The pronoun slots of one person, in small and capital letters."""
    forms = ("she", "her", "her", "hers") if girl else ("he", "him", "his", "his")
    slots = {}
    for slot, form in zip(("he", "him", "his", "hers"), forms):
        slots[prefix + slot] = form
        slots[(prefix + slot).capitalize()] = form.capitalize()
    return slots


def expand(text, slots, draw):
    """Resolves choices from the inside out, then slots, until none is left."""
    while True:
        # Slots first: the macros they hold may bring choices with them.
        text, filled = SLOT.subn(lambda found: slots[found[1]], text)
        text, chosen = INNERMOST.subn(lambda found: draw.choice(found[1].split("|")), text)
        if not filled and not chosen:
            return text


def tidy(text):
    """Spacing, `a` or `an`, and capitals at the head of each sentence."""
    paragraphs = []
    for paragraph in re.split(r"\n\s*\n", text):
        line = re.sub(r"\s+", " ", paragraph).strip()
        line = re.sub(r" ([,.!?])", r"\1", line)
        line = re.sub(r"\b([Aa]) (?=[aeiou])(?!one\b|uni)", r"\1n ", line)
        line = re.sub(r"(^|[.!?] |\.\" |^\"|[.!?] \"|[.!?]\" \")([a-z])",
                      lambda found: found[1] + found[2].upper(), line)
        if line:
            paragraphs.append(line)
    return "\n".join(paragraphs)


def cast_child(slots, draw, girl, plot):
    names = draw.sample(GIRLS, 2), draw.sample(BOYS, 2)
    slots["h"], slots["f"] = names[0 if girl else 1][0], names[1 if girl else 0][0]
    slots["who"] = "a [{size}|{size}|{kind}|{size}, {kind}] " + ("girl" if girl else "boy") + " named {h}"
    slots["house"] = draw.choice(CHILD_HOMES)
    slots["place"] = draw.choice(("park", "garden", "woods", "field", "beach"))
    slots["old_friend"] = "[{his} friend {f}|{his} best friend {f}]"
    slots["new_friend"] = "a [{size}|{kind}] " + ("boy" if girl else "girl") + " named {f}"
    slots["pair"] = "{h} and {f}"
    slots["mom"], slots["dad"] = "{his} mom", "{his} dad"
    slots["snack"] = draw.choice(("apples", "cookies", "bread and jam", "strawberries"))
    slots["child"] = "girl" if girl else "boy"
    slots["fchild"] = "boy" if girl else "girl"
    slots["likes"] = draw.choice([
        "{he} loved to [sing|draw|paint|read|run and play|play outside|ask questions|help {mom}]",
        "{he} had [brown hair and bright eyes|red boots and a blue hat|a big smile|a brave heart]",
        "{he} liked [stories|flowers|animals|the sea|the stars|the rain] more than anything",
    ])


def cast_animal(slots, draw, girl, plot):
    kind, looks, house, food = draw.choice(
        [row for row in ANIMALS if row[0] in plot.get("heroes", KINDS)])
    other, other_looks, _, _ = draw.choice(
        [row for row in ANIMALS if row[0] in plot.get("others", KINDS) and row[0] != kind])
    slots["h"] = draw.choice(GIRLS if girl else BOYS)
    slots["f"] = draw.choice(BOYS if girl else GIRLS)
    slots["who"] = f"a [{{size}}|{looks}|little {draw.choice(looks.split('|'))}] {kind} named {{h}}"
    slots["house"] = house
    slots["place"] = draw.choice(("forest", "meadow", "woods", "field"))
    slots["old_friend"] = f"{{his}} [|best] friend {{f}} the {other}"
    slots["new_friend"] = f"a [{other_looks}] {other} named {{f}}"
    slots["pair"] = f"{{h}} the {kind} and {{f}} the {other}"
    slots["mom"], slots["dad"] = "{his} mother", "{his} father"
    slots["snack"] = food
    slots["child"], slots["fchild"] = kind, other
    slots["likes"] = draw.choice([
        f"{{he}} loved to [run and play|sing|play in the leaves|look at the stars|eat {food}]",
        "{he} had [a soft nose and bright eyes|a loud voice|a big heart|very quick feet]",
        "{he} liked [the sun|flowers|stories|quiet evenings|the spring] more than anything",
    ])


def opening(slots, draw, plot):
    """Introduces the hero, or both friends, or nobody and then `S` does so in passing."""
    known = plot.get("known", False) or (not plot.get("new", False) and draw.random() < 0.5)
    slots["friend"] = slots["old_friend" if known else "new_friend"]
    slots["friends"] = slots["old_friends" if known else "new_friends"]
    if known and plot.get("pair", False) and draw.random() < 0.4:
        slots["S"], slots["friend"] = "{h}", "{f}"
        slots["open"] = draw.choice([
            "{pair} were [best|good|very good] friends.",
            "Once upon a time, {pair} were [best|good] friends. [They did everything together.|]",
            "{pair} were friends. They [played together every day|liked to laugh together].",
        ])
        return
    if draw.random() < 0.35:
        slots["open"], slots["S"] = "", "{who}"
        return
    slots["S"] = "{h}" if draw.random() < 0.8 else "{he}"
    slots["open"] = draw.choice([
        "Once upon a time, there was {who}. [{likes}.|{he} lived {house}.|]",
        "Once upon a time, {who} lived {house}. [{likes}.|]",
        "Once upon a time, {house}, there lived {who}. [{likes}.|]",
        "There was once {who}. {likes}.",
        "Once there was {who} who lived {house}. [{likes}.|]",
        "{h} was a {size} {child} who lived {house}. [{likes}.|]",
    ])


def story(draw):
    """One story, its paragraphs on lines of their own."""
    plot = draw.choice(PLOTS)
    girl = draw.random() < 0.5
    slots = dict(MACROS)
    slots.update(pronouns("", girl))
    slots.update(pronouns("f", not girl))
    cast = plot["cast"]
    if cast == "any":
        cast = draw.choice(("child", "animal"))
    (cast_child if cast == "child" else cast_animal)(slots, draw, girl, plot)
    opening(slots, draw, plot)
    slots.update(draw.choice(plot["table"]))
    slots["himself"] = "herself" if girl else "himself"
    slots["fhimself"] = "himself" if girl else "herself"
    return tidy(expand(plot["text"], slots, draw))


def stories(count, seed):
    """Distinct stories; the same seed always gives the same ones."""
    draw, seen = random.Random(seed), set()
    while len(seen) < count:
        text = story(draw)
        if text not in seen:
            seen.add(text)
            yield text


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stories", type=int, default=60000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--output", default="corpus.txt")
    arguments = parser.parse_args()
    with open(arguments.output, "w", encoding="utf-8", newline="\n") as output:
        for text in stories(arguments.stories, arguments.seed):
            output.write(text + "\n" + SEPARATOR + "\n")


if __name__ == "__main__":
    main()
