"""Plots with a plan, a journey or a gift."""

PLOTS = [
    # Baking with one thing forgotten.
    {"cast": "child", "table": [
        {"dish": "cake", "missing": "sugar", "taste": "It was not sweet at all", "save": "put sweet jam and strawberries on top"},
        {"dish": "bread", "missing": "salt", "taste": "It tasted like paper", "save": "ate it with salty cheese"},
        {"dish": "soup", "missing": "carrots", "taste": "It was only hot water with onions", "save": "cut the carrots and cooked the soup again"},
        {"dish": "pie", "missing": "apples", "taste": "It was empty inside", "save": "cooked the apples and ate them with the pie"},
        {"dish": "pancake", "missing": "milk", "taste": "It was as dry as sand", "save": "drank the milk with it"},
    ], "text": """
{open} {day} {S} wanted to [make|bake] a {dish} for {his} grandma's birthday. "[I can do it all by myself|I know how to do it]," said {h}. {He} took a [big bowl|large pot] and [mixed everything|stirred and stirred]. [There was flour on {his} nose.|The kitchen was a big mess.] {He} was in such a hurry that {he} forgot the {missing}.

When the {dish} was ready, {h} [took a small bite|tasted it]. {taste}! "[What did I do wrong?|Oh no!]" {h} said. [Then {he} saw the {missing} on the table.|There was the {missing}, still on the table.] "I forgot the {missing}!" {h} {sad}. Just then, {his} grandma came in. {h} told her [everything|what had happened].

Grandma [laughed softly|gave {him} a kiss]. "[Even good cooks forget things|That happens to me, too]," she said. "[Let us save it together|We can still fix it]." They {save}. [Then they sat down at the table.|They lit one little candle.] "This is the best {dish} ever," said Grandma, "because you made it for me." {theend}
"""},
    # A small gift made by hand.
    {"cast": "any", "new": True, "table": [
        {"gift": "a necklace of shells", "made": "walked along the shore and picked up the prettiest shells"},
        {"gift": "a crown of flowers", "made": "picked white and yellow flowers in the field"},
        {"gift": "a painted stone", "made": "found a smooth stone and painted a red heart on it"},
        {"gift": "a wooden spoon", "made": "found a piece of wood and worked on it for hours"},
        {"gift": "a little poem", "made": "sat under a tree and wrote down the best words {he} knew"},
    ], "text": """
{open} Tomorrow was {f}'s birthday, and {h} wanted to give {fhim} something special. But {h} had no money. "[What can I give|What should I do]?" {he} asked {mom}. "[The best gifts come from the heart|You do not need money to make a gift]," {mom} {said_kindly}. [{h} thought about it all night.|{h} thought and thought.] The next morning, {he} {made}. {He} made {gift}.

At the party, [the others brought big boxes with ribbons|there were big gifts in shiny paper]. {h} [looked at {his} small gift|felt shy]. "[Mine is too small|It is not as good as the others]," {he} thought. {He} wanted to [hide it|go home]. But {f} came up to {him}. "[What do you have there|Is that for me]?" {fhe} asked. {h} held it out and [looked at the floor|did not say a word].

It was {gift}. {f} was quiet for a moment. Then {fhe} [smiled from ear to ear|hugged {h}]. "You made this for me?" {f} asked. "[It is the best gift of all|I love it more than all the others]!" {h} [was so happy that {he} wanted to dance|felt warm and happy]. [The size of a gift is not important, but the love in it is.|{h} learned that love makes a small gift big.] {theend}
"""},
    # A toy boat sails off, and comes back.
    {"cast": "any", "heroes": "rabbit fox squirrel mouse hedgehog badger kitten puppy lamb".split(), "table": [
        {"animal": "duck", "way": "swam out and pushed the boat back with its beak", "pay": "some bread"},
        {"animal": "frog", "way": "jumped from leaf to leaf and pulled the boat back by its string", "pay": "a ripe berry"},
        {"animal": "swan", "way": "swam out and pushed the boat gently to the shore", "pay": "some seeds"},
        {"animal": "fish", "way": "came up from below and pushed the boat with its nose", "pay": "some crumbs"},
        {"animal": "beaver", "way": "swam out and brought the boat back in its teeth", "pay": "a sweet apple"},
    ], "text": """
{open} {hero} had a little [wooden|paper|white] boat. {some_day} {he} took it to the [pond|lake] and put it on the water. The boat [sailed very well|bobbed up and down]. But then [the wind blew hard|the string slipped from {his} hand], and the boat sailed away, farther and farther. "Come back, little boat!" called {h}. But the boat did not come back. The water was too deep, and {h} could not [swim|reach it].

A {animal} [looked up|was watching]. "Why are you crying?" asked the {animal}. "My boat is gone," said {h}. "[I made it with {maker}|It was a gift from {maker}]." "[Do not cry|Wait here]," said the {animal}. "I can help you." The {animal} {way}. {h} [clapped {his} hands|jumped up and down]. "You are [so kind|so clever]!" {he} said. "How can I thank you?"

"I am a little bit hungry," said the {animal}. So {h} [came back with {pay}|gave the {animal} {pay}]. [The next day, {h} came to the water again, and the {animal} was there|From then on, {h} visited the {animal} every day]. And {he} tied a [long, strong|good] string to the boat, so that it could not sail away again. {theend}
"""},
    # Found and given back.
    {"cast": "child", "table": [
        {"find": "a purse full of money", "owner": "an old woman", "the_owner": "the old woman", "why": "I need it to buy food"},
        {"find": "a gold ring", "owner": "an old man", "the_owner": "the old man", "why": "My wife gave it to me long ago"},
        {"find": "a small brown dog", "owner": "a tall man", "the_owner": "the tall man", "why": "He ran away when I opened the gate"},
        {"find": "a silver key", "owner": "the baker", "the_owner": "the baker", "why": "I cannot open my shop without it"},
        {"find": "a bag of letters", "owner": "the mailman", "the_owner": "the mailman", "why": "It fell from my bike"},
    ], "text": """
{open} {day} {S} was walking [home|down the street|to the shop] when {he} found {find}. [{h} looked around, but nobody was there.|There was nobody near.] "[I could keep it|It could be mine]," {h} thought. But then {he} thought again. "Somebody must be very sad without it," {he} said.

{h} [asked at the shop|asked everyone on the street], but [nobody knew|they all shook their heads]. {He} did not give up. [At last|Near the school], {he} saw {owner} [sitting on a bench|looking at the ground]. "[Did you lose something|Are you looking for something]?" asked {h}. "Yes," said {the_owner}. "I have lost {find}. {why}." "[Here it is|I found it]!" said {h}.

{the_owner} [could not believe it|had tears of joy]. "You are an honest {child}," said {the_owner}. "[How can I thank you|What would you like]?" "[I only wanted to help|I am just glad you are happy]," said {h}. But the next day, there was a [big box of cookies|basket of sweet apples] at {his} door. [{mom} was very proud.|{h} shared it with the whole family.] {theend}
"""},
    # Snow: a snowman is missing something.
    {"cast": "child", "table": [
        {"lack": "hat", "give": "took off {his} own red hat and put it on the snowman"},
        {"lack": "scarf", "give": "took off {his} own warm scarf and put it on the snowman"},
        {"lack": "nose", "give": "ran home and came back with a long orange carrot"},
        {"lack": "smile", "give": "took seven small stones and made a big smile"},
        {"lack": "friend", "give": "began to make a second snowman right beside the first one"},
    ], "text": """
{open} {snowday} {S} [looked out of the window|woke up early]. Everything was white! {h} put on {his} [boots and coat|warm coat] and ran outside. {friend} was there, too. "Let us make a snowman!" said {h}. They rolled [a big ball of snow and a small ball of snow|three balls of snow] and put them on top of each other. [Two black stones were the eyes.|They used sticks for the arms.]

They stepped back and looked. "[He looks a little sad|Something is not right]," said {f}. "He has no {lack}." {h} thought for a moment. "I know what to do," {he} said. {h} {give}. [Now the snowman looked happy.|"Now he is happy," said {f}.]

They danced around the snowman until [their noses were red|their toes were cold]. Then {mom} called them in for hot chocolate. [Through the window, they could see the snowman in the moonlight.|They waved to the snowman through the window.] "[Good night, snowman|See you tomorrow]," said {h}. [And it almost looked as if the snowman smiled back.|{sleep}] {theend}
"""},
    # A picnic saved from the weather.
    {"cast": "any", "pair": True, "known": True, "table": [
        {"storm": "big drops of rain began to fall", "shelter": "an old barn", "roof": "its roof"},
        {"storm": "a strong wind blew the blanket away", "shelter": "a small cave", "roof": "its roof"},
        {"storm": "dark clouds came, and thunder rolled over the hills", "shelter": "a hut in the woods", "roof": "its roof"},
        {"storm": "rain fell from the gray sky", "shelter": "a big tree with thick leaves", "roof": "the tree"},
    ], "text": """
{open} {day} {S} and {friend} wanted to have a picnic [on the hill|by the river|in the meadow]. They [packed|filled] a basket with [bread, cheese, and {snack}|{snack} and cake|{snack} and juice]. "[This will be a perfect day|I cannot wait]," said {h}. They put a blanket on the grass and sat down. But just then, {storm}. "Oh no!" cried {f}. "[Our picnic is ruined|Everything will get wet]!"

{h} [looked around|thought fast]. Not far away, {he} saw {shelter}. "[Quick, take the basket|Follow me]!" said {h}. They [ran as fast as they could|took everything and ran]. Under {roof}, it was [dry and warm|dry]. They were out of breath. {f} looked at {h}, who was all wet, and began to laugh, and then {h} had to laugh, too.

They [put the blanket down|sat close together] and ate [every bite|all the good food]. [They listened to the weather outside and told stories.|Outside it was gray, but inside they were happy.] When the sun came back, there was a [big|bright] rainbow in the sky. "[This was the best picnic ever|A picnic with you is always good]," said {f}. {theend}
"""},
    # A little light for somebody in the dark; the small one can do what the big cannot.
    {"cast": "animal", "new": True, "heroes": "mouse frog hedgehog squirrel".split(), "others": "bear badger fox".split(), "table": [
        {"task": "a golden key had fallen into a narrow crack", "use": "climbed into the crack", "result": "came out with the key", "big": "Our arms are too thick"},
        {"task": "a baby bird was stuck in a narrow pipe", "use": "went into the pipe", "result": "came out with the baby bird", "big": "We do not fit inside"},
        {"task": "the bell in the old tower did not ring anymore", "use": "climbed up through a small hole", "result": "pulled out the leaf that held the bell", "big": "The hole is too small for us"},
        {"task": "the rope of the bridge was in a knot", "use": "put {his} tiny hands into the knot", "result": "pulled it open bit by bit", "big": "Our hands are too big"},
    ], "text": """
{open} {hero} was [the smallest of all {his} friends|much smaller than the others]. The others [laughed at {him}|did not let {him} play]. "You are too small," they said. "[You cannot help us|Go home to your mother]." {h} {sad}. "[Nobody needs me|I wish I were big]," {he} said to {mom}. "[Wait and see|One day, they will need you]," said {mom}. "Small ones can do things that big ones cannot."

{day} there was [trouble|a problem] in the forest. {task}. [Everybody tried to help.|The big animals tried and tried.] "We cannot do it," said {f} the {fchild}. "{big}." [They did not know what to do.|They all looked at each other.] Then {h} stepped forward. "[Let me try|I can do it]," {he} said. [Somebody laughed, but {h} was brave.|Nobody laughed this time.]

{h} {use}. [It was dark, but {he} did not stop.|Everybody held their breath.] Then {he} {result}! "Hooray for {h}!" the animals shouted. {f} [looked at the ground|came up to {him}]. "[We were wrong|I am sorry that we laughed at you]," {fhe} said. "[We need you|You may be small, but you are very brave]." [From that day on, {h} played with all the others.|And nobody ever laughed at {h} again.] {theend}
"""},
    # Tidying turns up what was missing.
    {"cast": "child", "table": [
        {"miss": "{his} favorite pencil", "turn": "behind the shelf", "next": "draw a picture for {mom}"},
        {"miss": "{his} left shoe", "turn": "under a pile of clothes", "next": "go out and play"},
        {"miss": "the last piece of {his} puzzle", "turn": "inside a sock", "next": "finish the puzzle"},
        {"miss": "{his} library book", "turn": "under the blanket", "next": "take the book back in time"},
        {"miss": "{his} little flute", "turn": "in the toy box", "next": "play a song for the family"},
    ], "text": """
{open} {h}'s room was a [big|terrible] mess. There were [toys on the floor and socks on the lamp|books on the bed and blocks on the floor]. "Please clean your room," said {mom}. "[Later|I will do it tomorrow]," said {h}. But {he} [never did|did not do it].

{day} {h} needed {miss}. {He} looked on the bed. {He} looked under the chair. [It was too messy to find anything.|{He} fell over a toy truck.] "I cannot find anything in here!" {h} [said angrily|cried]. {mom} [looked in|stood at the door] and smiled. "[A clean room helps you find things|Maybe it is time to clean up]," she said. [{h} sighed.|{h} knew that she was right.]

So {h} [picked up the toys|put the books on the shelf] and [folded the clothes|put the blocks in the box]. [It was not so bad.|{He} sang a song while {he} worked.] And then, {turn}, {he} found {miss}! "[I found it|Here it is]!" {h} shouted. Now {he} could {next}. From that day on, {h} cleaned {his} room every [week|Sunday]. {theend}
"""},
    # Stage fright.
    {"cast": "any", "pair": True, "known": True, "table": [
        {"act": "sing a song", "did": "{his} voice was clear and sweet"},
        {"act": "dance", "did": "{his} feet knew what to do"},
        {"act": "tell a story", "did": "the words came one after the other"},
        {"act": "play the drum", "did": "the drum went boom, boom, boom"},
    ], "text": """
{open} {hero} loved to {act} at home. {some_day} there was going to be a big show. "[You should be in the show|Please come and {act} for us]," said {friend}. {h} [wanted to do it very much|said yes], but {he} was also afraid. "[What if I make a mistake|What if they laugh at me]?" {he} thought.

On the night of the show, {h} stood [behind the curtain|behind a big tree]. {his} knees were shaking. There were so many eyes! "[I cannot do it|I want to go home]," {h} whispered. {f} took {his} hand. "[I will sit in the front|I will stand right here]," {fhe} said. "Just look at me, and {act} for me, as you do at home." {h} nodded and [took a deep breath|stepped out].

At first, {h} was very quiet. Then {he} saw {f}, who smiled at {him}. {h} began to {act}, and {did}. [{He} forgot that {he} was afraid.|All {his} fear was gone.] When it was over, everybody clapped and cheered. "You were wonderful!" said {f}. "[You helped me to be brave|I could do it because you were there]," said {h}. {theend}
"""},
]
