"""The people, animals and places of the stories, and the phrases every plot may use."""

GIRLS = """Lily Mia Anna Sara Emma Ruby Ella Nora Zoe Lucy Rose Molly Daisy Grace Amy Kate
Ivy Jane Clara Poppy Maya Holly Tess Nina Bella Penny""".split()
BOYS = """Tom Ben Max Sam Leo Jack Tim Finn Oscar Noah Jake Dan Hugo Luke Adam Toby Peter
Will Theo Eli Ravi Omar Felix Henry Charlie Milo""".split()

# species, what it looks like, where it lives, what it likes to eat
ANIMALS = [
    ("rabbit", "brown|white|gray", "in a warm hole under a hill", "carrots"),
    ("fox", "red|orange", "in a den under an old oak tree", "berries"),
    ("bear", "brown|black", "in a cave in the hills", "honey"),
    ("squirrel", "red|gray", "in a nest in a tall tree", "nuts"),
    ("mouse", "gray|brown", "in a tiny house in the wall of a barn", "cheese"),
    ("hedgehog", "brown|round", "under a pile of dry leaves", "apples"),
    ("duck", "yellow|white", "in the tall grass beside a pond", "seeds"),
    ("frog", "green|spotted", "by a quiet pond", "flies"),
    ("badger", "gray|shy", "in a hole beside a stream", "berries"),
    ("turtle", "green|slow", "on the bank of a river", "green leaves"),
    ("otter", "brown|quick", "on the bank of a river", "fish"),
    ("kitten", "black|orange|gray", "on a farm with a red barn", "warm milk"),
    ("puppy", "brown|spotted|black", "on a farm with a red barn", "bones"),
    ("lamb", "white|soft", "in a green field on a farm", "sweet grass"),
]

CHILD_HOMES = [
    "in a small house near the sea", "in a little white house on a hill",
    "in a small town by a river", "in a quiet village", "in a tall house in the city",
    "in a yellow house with a big garden", "on a farm with many animals",
    "in a house at the edge of the woods",
]

MACROS = {
    # `S` and `friend` at one remove: the draws of the shipped corpus depend on it.
    "hero": "{S}",
    "companion": "{friend}",
    "maker": "my [father|grandpa|mother]",
    "some_day": "One [day|sunny day|fine day|morning],",
    "size": "[little|small|young]",
    "kind": "[kind|happy|brave|clever|curious|cheerful|gentle|playful]",
    "day": "[One day,|One day,|One [sunny|warm|bright|fine|quiet] [day|morning|afternoon],|"
           "One [morning|afternoon],|On a [sunny|warm|bright] [day|morning],|Early one morning,|One [spring|summer] [day|morning],|"
           "One day, when the [sun was shining|birds were singing|sky was blue],]",
    "rainday": "[One rainy [day|morning|afternoon],|One day, when it rained and rained,|"
               "On a gray and rainy [day|morning],]",
    "windday": "[One windy [day|morning|afternoon],|On a bright and windy day,]",
    "snowday": "[One [snowy|cold] [day|morning],|One winter [day|morning],]",
    "night": "[One night,|One dark night,|Late one night,|One quiet night,]",
    "sad": "[felt [very|so] sad|was very sad|wanted to cry|felt like crying|felt a tear on {his} cheek]",
    "glad": "[smiled|smiled a big smile|was very happy|felt happy|laughed with joy|jumped for joy]",
    "said_kindly": "[said|said kindly|said softly|said with a smile]",
    "thanks": "[\"Thank you [so|very] much!\" said {h}.|\"Thank you, {f}!\" said {h}.|"
              "\"Oh, thank you!\" {h} said with a big smile.|"
              "{h} hugged {f} and said, \"Thank you!\"]",
    "welcome": "[\"You are welcome,\" said {f}.|\"That is what friends are for,\" said {f}.|"
               "\"I am glad I could help,\" said {f}.|{f} smiled. \"I like to help,\" {fhe} said.]",
    "old_friends": "[|It was good to have a friend.|They were [very glad|happy] to have each other.|"
                   "{h} and {f} stayed friends for a long, long time.|What a good day it was!]",
    "new_friends": "[From that day on, {h} and {f} were [best|good] friends.|"
                   "{h} and {f} became [the best of|good] friends.|"
                   "After that, {h} and {f} played together every day.]",
    "home": "[They went home with [happy hearts|big smiles].|"
            "Then they walked home together [in the warm evening light|hand in hand|, happy and tired].|"
            "When the sun went down, they went home, tired but happy.]",
    "sleep": "[That night, {h} [slept well|went to bed with a smile|had sweet dreams].|"
             "That night, {h} fell asleep with a [smile|happy heart].]",
    "theend": "[||||| The end.]",
}
