"""Plots in which the hero learns something, mostly with the family at hand."""

PLOTS = [
    # Something is lost, and found where it was last used.
    {"cast": "child", "table": [
        {"thing": "teddy bear", "use": "had slept with it", "spot": "under the bed"},
        {"thing": "red ball", "use": "had played with it", "spot": "behind the big tree in the garden"},
        {"thing": "blue hat", "use": "had worn it", "spot": "on the bench in the park"},
        {"thing": "picture book", "use": "had read it", "spot": "under the soft pillow"},
        {"thing": "toy car", "use": "had raced it", "spot": "under the kitchen table"},
        {"thing": "green scarf", "use": "had worn it", "spot": "on a branch by the gate"},
        {"thing": "wooden horse", "use": "had played with it", "spot": "in the tall grass"},
        {"thing": "doll", "use": "had given it a bath", "spot": "beside the bath"},
    ], "text": """
{open} {hero} had a {thing} that {he} [loved very much|took everywhere|loved more than all {his} other toys].
{day} {h} could not find {his} {thing}. {He} looked [in the box|in the closet|under the chair|behind the door],
but it was not there. {He} looked [in the yard|on the shelf|in {his} bag|by the window], but it was not there either.
[{h} {sad}.|"Oh no! Where is my {thing}?" {h} cried.|"I have lost my {thing}," {h} said and {sad}.]

[{his} mom sat down beside {him}.|{his} mom came and gave {him} a hug.] ["Let us think," she said.|"Do not worry," she {said_kindly}.]
"Where did you have it last?" {h} thought and thought. Then {he} remembered. {He} {use} [the day before|yesterday].
{He} ran as fast as {he} could, and there it was, {spot}! [{h} hugged the {thing}.|"I found it!" {h} shouted.]
[From then on, {h} always put {his} {thing} back in its place.|"Next time, I will put it away," said {h}.|After that, {h} always knew where to look first.]
{theend}
"""},
    # A warning is not heeded; the result teaches better than words.
    {"cast": "any", "table": [
        {"warn": "The ice is thin. Do not walk on the pond", "do": "stepped on the ice", "when": "{snowday}",
         "bad": "Crack! The ice broke, and {his} feet fell into the cold water", "hurt": "{h} was wet and cold",
         "care": "wrapped {him} in a warm blanket and made {him} some soup"},
        {"warn": "It is going to rain. Do not go too far", "do": "went far, far away over the hills", "when": "{day}",
         "bad": "Soon dark clouds came, and the rain fell hard on {his} head", "hurt": "{h} was wet from head to toe",
         "care": "dried {him} and let {him} sit by the fire"},
        {"warn": "Do not eat the green berries", "do": "ate ten green berries", "when": "{day}",
         "bad": "Soon {his} tummy began to hurt", "hurt": "{h} could not even stand up",
         "care": "gave {him} warm tea and held {his} hand"},
        {"warn": "Do not run down the steep hill", "do": "ran down the hill as fast as the wind", "when": "{day}",
         "bad": "{He} ran so fast that {he} could not stop, and {he} fell into a muddy hole", "hurt": "{h} had a sore knee and was full of mud",
         "care": "washed the mud away and kissed {his} knee"},
        {"warn": "Do not go near the bees", "do": "put {his} nose into the bees' home to smell the honey", "when": "{day}",
         "bad": "Buzz! The bees came out, and one of them stung {him} on the nose", "hurt": "{h} ran away with a red nose",
         "care": "put some cool water on {his} nose"},
        {"warn": "Do not climb the old tree", "do": "climbed up and up", "when": "{day}",
         "bad": "Snap! A branch broke, and {he} fell down into a bush", "hurt": "{h} was not badly hurt, but {he} was very scared",
         "care": "picked the leaves from {his} head and gave {him} a big hug"},
    ], "text": """
{open} {when} {S} wanted to play outside. "{warn}," said {mom}. ["Yes, yes," said {h}, but {he} did not really listen.|But {h} did not listen.|{h} nodded, but {he} soon forgot.]

[Outside, {h}|When nobody was looking, {h}|After a while, {h}] {do}. [It was fun at first.|At first, {he} laughed.|"This is fun!" {he} said.]
{bad}. {hurt}. ["Help!" {he} cried.|"I should have listened," {he} thought.|{He} began to cry.] {mom} [heard {him} and came running|came as fast as she could].

[At home, {mom}|She took {him} home and] {care}. "I am sorry," said {h}. "I did not listen to you."
[{mom} smiled. "I tell you these things because I love you," she said.|"I am just glad that you are safe," said {mom}.|"You have learned something today," {mom} {said_kindly}.]
[From that day on, {h} always listened.|After that, {h} was more careful.|{h} never did it again.] {theend}
"""},
    # A new skill, with falls before it works.
    {"cast": "child", "table": [
        {"skill": "ride a bike", "try": "got on the bike, but {he} fell off", "hint": "Look ahead, not down at your feet", "win": "{he} was riding all the way to the gate", "tool": "bike"},
        {"skill": "swim", "try": "jumped into the water, but {he} got water in {his} nose", "hint": "Kick your legs and keep your head up", "win": "{he} was swimming across the lake", "tool": "lake"},
        {"skill": "skate", "try": "stepped on the ice, but {he} fell on {his} back", "hint": "Bend your knees and go slowly", "win": "{he} was gliding over the ice", "tool": "ice"},
        {"skill": "fly a kite", "try": "threw the kite up, but it fell down on the grass", "hint": "Wait for the wind, and then run", "win": "the kite was flying high in the sky", "tool": "kite"},
        {"skill": "whistle", "try": "blew and blew, but no sound came out", "hint": "Make a small round mouth and blow softly", "win": "{he} was whistling a happy song", "tool": "song"},
        {"skill": "catch a ball", "try": "held out {his} hands, but the ball fell on the ground", "hint": "Keep your eyes on the ball", "win": "the ball was safe in {his} hands", "tool": "ball"},
        {"skill": "bake bread", "try": "put the bread in the oven, but it came out flat and black", "hint": "Give the bread time to rise first", "win": "the bread was round and brown", "tool": "bread"},
    ], "text": """
{open} {hero} wanted to learn how to {skill}. [All {his} friends could do it.|{his} big brother could do it very well.|It looked like so much fun.]
{day} {h} {try}. {He} tried again, but it did not work. [{h} {sad}.|"It is too hard!" {he} said.|"I will never learn it," said {h}.]

{dad} [saw this and came over|had been watching|sat down beside {him}]. "When I was small, I could not {skill} either," he said. "[I tried many times.|It took me a long time.]
{hint}." {h} [wiped {his} eyes|took a deep breath|nodded] and tried once more. [It was better, but not good yet.|It almost worked.] {He} tried again and again[| until the sun was low].

[At last|Then, all of a sudden|And then], {win}! ["Look, I can do it!" {h} shouted.|"I did it! I did it!" {h} cried.|{h} laughed with joy.]
["I am proud of you," said {dad}. "You did not give up."|{dad} clapped his hands. "I knew you could do it," he said.]
[{h} felt ten feet tall.|After that, {h} wanted to do it every day.|{h} learned that good things take time.] {theend}
"""},
    # A seed needs patience.
    {"cast": "any", "table": [
        {"seed": "bean", "plant": "a tall bean plant", "gift": "made a big pot of bean soup"},
        {"seed": "sunflower", "plant": "a tall yellow sunflower", "gift": "sat in its shade and smiled"},
        {"seed": "pumpkin", "plant": "a round orange pumpkin", "gift": "made a sweet pumpkin pie"},
        {"seed": "carrot", "plant": "a big orange carrot", "gift": "ate the carrot together"},
        {"seed": "apple", "plant": "a small apple tree", "gift": "danced around the little tree"},
        {"seed": "rose", "plant": "a pretty red rose", "gift": "smelled the sweet rose"},
        {"seed": "melon", "plant": "a huge green melon", "gift": "shared the sweet melon"},
    ], "text": """
{open} {day} {S} found a [small|tiny] {seed} seed [on the path|near the gate|in an old box|under a leaf]. "What will you be?" {he} asked. {h} dug a [little|small] hole [in the ground|in the soft ground], put the seed in, and covered it with [soil|warm soil].
Every [day|morning], {h} gave it some water.

[But nothing grew.|Day after day, nothing happened.] {h} [waited and waited|looked and looked, but saw only the brown ground]. "[Why does it not grow|What am I doing wrong]?" {h} asked {mom}. "[Good things take time|You must wait|A seed needs time to wake up]," {mom} {said_kindly}.
"[Give it water and sun, and do not give up|Keep taking care of it]." So {h} [kept on giving it water|sang to the seed every night|did not give up].

Then, one [morning|warm morning], {h} saw [something|a tiny bit of] green. "It is growing!" {he} shouted. The little plant grew [bigger and bigger|taller every day]. By the end of summer, it was {plant}. {h} and {mom} {gift}.
[{h} was glad that {he} had waited.|"It was worth the wait," said {h}.|{h} saved a new seed for the next year.] {theend}
"""},
    # Fear in the night has a small reason.
    {"cast": "any", "table": [
        {"noise": "scratch, scratch, scratch", "creature": "hedgehog", "doing": "looking for worms under the window", "give": "a piece of apple"},
        {"noise": "tap, tap, tap", "creature": "bird", "doing": "tapping on the window with its beak because it was cold", "give": "some seeds"},
        {"noise": "hoo, hoo, hoo", "creature": "owl", "doing": "singing to the moon on a branch", "give": "a friendly wave"},
        {"noise": "thump, thump, thump", "creature": "rabbit", "doing": "hopping in the yard", "give": "a fresh carrot"},
        {"noise": "squeak, squeak, squeak", "creature": "mouse", "doing": "looking for something to eat", "give": "a bit of cheese"},
        {"noise": "meow, meow, meow", "creature": "kitten", "doing": "sitting in the rain by the door", "give": "a bowl of milk"},
    ], "text": """
{open} {night} {S} was lying in bed. [It was very dark.|The moon was behind the clouds.] Then {he} heard a strange noise. [It went {noise}.|"{noise}," it went.] [{h} was scared.|{h} pulled the blanket over {his} head.|{h} held {his} breath.] "[What is that|Who is there]?" {he} [whispered|asked]. [Nobody answered.|The noise came again.]

{h} [called for {dad}|ran to {dad}]. "There is a monster outside!" {he} said. {dad} took {his} hand. "[Let us look together|Let us go and see]," he said. "Things are not so scary when you know what they are." They [opened the door slowly|walked to the door on tiptoe] and looked out. It was not a monster at all. It was only a little {creature}, {doing}!

{h} laughed. "[You gave me a fright|I was afraid of you], little {creature}," {he} said, and gave it {give}. Then {h} went back to bed. [When {he} heard the noise again, {he} only smiled.|Now {he} was not afraid anymore.|The dark was not so scary now.] {sleep} {theend}
"""},
    # Rain outside, something made inside.
    {"cast": "child", "table": [
        {"make": "a fort", "from": "blankets and chairs", "be": "{h} was the king of a great castle", "end": "ate cookies in the fort"},
        {"make": "a boat", "from": "a big box and a broom", "be": "{h} was the captain of a great ship", "end": "sailed to a far island in the living room"},
        {"make": "a rocket", "from": "an old box and some paper", "be": "{h} flew to the moon and back", "end": "looked for stars behind the sofa"},
        {"make": "a drum", "from": "an old pot and two spoons", "be": "{h} played in a big parade", "end": "sang and marched around the table"},
        {"make": "a paper crown", "from": "yellow paper and glue", "be": "{h} was the ruler of all the toys", "end": "had a party with all the toys"},
        {"make": "a puppet", "from": "an old sock and two buttons", "be": "{h} made the puppet sing and dance", "end": "gave a puppet show for the whole family"},
    ], "text": """
{open} {rainday} {S} [sat by the window|looked out of the window]. The rain [ran down the glass|fell and fell]. "I cannot go out," said {h}. "[I am so bored|There is nothing to do]." [{h} gave a long sigh.|{He} did not want to read, and {he} did not want to draw.]

[{his} grandma came in|{his} grandpa heard {him} and came in] with [a smile|a secret smile]. "[When I was a child, I liked rainy days best|A rainy day is a good day to make something]. [Look at all the things we have here.|What can we make?]" {h} [looked around|thought hard]. There were {from}. "I know!" said {h}. "We can make {make}!"

They [worked all morning|worked and laughed] and made {make} from {from}. [Soon|Then] {be}. [They laughed so much that they forgot the rain.|It was the best game ever.] They {end}. When the sun came out, {h} did not even see it. "[I hope it rains again tomorrow|Rainy days are fun]!" said {h}. {theend}
"""},
    # A broken thing, the truth, and repair.
    {"cast": "child", "table": [
        {"thing": "vase", "how": "kicked {his} ball in the house, and the ball hit {mom}'s blue vase", "fix": "they glued the vase together, piece by piece", "rule": "play with the ball outside"},
        {"thing": "cup", "how": "ran through the kitchen and bumped into the table, and {mom}'s best cup fell down", "fix": "they put the pieces together with glue", "rule": "walk in the kitchen"},
        {"thing": "lamp", "how": "jumped on the bed, and {mom}'s lamp fell on the floor", "fix": "they cleaned the floor and found a new glass for the lamp", "rule": "jump only on the grass"},
        {"thing": "window", "how": "threw a stone for fun, and it hit the window", "fix": "they put a new glass in the window", "rule": "throw stones only into the lake"},
        {"thing": "clock", "how": "climbed on a chair to touch the old clock, and it fell down", "fix": "they put the little wheels back in, one by one", "rule": "ask before touching things"},
        {"thing": "plate", "how": "spun around and around in the kitchen, and {his} arm hit a pretty plate", "fix": "they glued the plate and hung it on the wall", "rule": "dance in the yard"},
    ], "text": """
{open} {day} {S} {how}. Crash! The {thing} broke [into many pieces|in two]. {h} [stood very still|felt cold with fear]. "Oh no," {he} whispered. "[Mom will be angry.|What should I do now?]"

{h} [wanted to hide|thought about hiding the pieces] [under the bed|behind the door]. {He} [could say that the cat did it|could say that it was the wind]. But [that would be a lie, and a lie made {his} tummy feel bad|{he} knew that it would not be right]. So {h} went to {mom} and told the truth. "I broke the {thing}," {he} said [in a small voice|with tears in {his} eyes]. "I am very sorry."

{mom} [looked at the pieces and then at {h}|was quiet for a moment]. "[I am a little sad about the {thing}|Things can break]," she said, "but I am [happy|proud] that you told me the truth." [She gave {him} a hug.|Then she smiled.] After lunch, {fix}. [It was not the same as before, but {h} liked it even more.|It took a long time, but they had fun.] From then on, {h} remembered to {rule}. {theend}
"""},
    # Too much of a good thing.
    {"cast": "any", "table": [
        {"food": "cherries", "from": "a tree full of red cherries"},
        {"food": "blackberries", "from": "a bush full of sweet blackberries"},
        {"food": "plums", "from": "a tree full of purple plums"},
        {"food": "strawberries", "from": "a field of ripe strawberries"},
        {"food": "raspberries", "from": "a bush full of red raspberries"},
        {"food": "pears", "from": "a tree full of ripe yellow pears"},
    ], "text": """
{open} {day} {S} [found|saw] {from}. "{food}! I love {food}!" {h} [cried|said]. {He} ate one, and it was sweet. {He} ate another one, and another one. "[Please save some for the others|Do not eat too many]," said {mom}. But {h} [ate and ate|did not stop] until [they were all gone|not one was left].

[Soon|After a while], {h} [felt strange|did not feel good]. {his} tummy was [round and tight|as round as a ball], and it hurt. "Ow, ow, ow," {h} said. {He} [could not run|could not play] and had to lie down. [{his} little sister|{his} little brother] came [to eat some {food}|and looked for the {food}], but there were none. [The little one began to cry.|"None for me?" the little one asked sadly.] Now {h} felt [bad in {his} heart, too|even worse].

[The next day|When {he} felt better], {h} [went out early and found more {food}|looked everywhere and found more {food}]. This time, {he} ate only [two|three] and [gave the rest to the little one|shared the rest with everyone]. "[They taste better this way|Sharing tastes sweeter]," said {h}. {theend}
"""},
    # Lost, and found by staying calm.
    {"cast": "any", "table": [
        {"chase": "a blue butterfly", "sign": "the sound of the stream", "follow": "followed the stream down the hill"},
        {"chase": "a yellow bird", "sign": "{his} own footprints in the mud", "follow": "followed the footprints back"},
        {"chase": "a funny green frog", "sign": "the smoke of {his} own home above the trees", "follow": "walked toward the smoke"},
        {"chase": "a red leaf in the wind", "sign": "the tall hill behind {his} home", "follow": "walked straight to the hill"},
        {"chase": "a shiny dragonfly", "sign": "the ringing of a bell", "follow": "walked toward the bell"},
    ], "text": """
{open} {day} {S} was [walking in the woods with {mom}|picking flowers in the woods with {mom}]. Then {he} saw {chase}. "[How pretty|Wait for me]!" said {h}, and {he} ran after it, [deeper and deeper into the woods|over roots and under branches]. [When it was gone, {h} looked around.|At last, {he} stopped.] {He} did not know this place. {He} was lost!

"Mom! Where are you?" {h} called. Nobody answered. [The trees looked very tall.|It was very quiet.] {h} {sad}. But then {he} [remembered what {mom} always said|thought of {mom}'s words]: "When you are lost, stay calm and use your eyes and ears." So {h} [sat down on a log|stood still], [took a deep breath|wiped {his} eyes], and [looked and listened|listened]. And then {he} noticed {sign}!

{h} {follow}. [Soon|Step by step,] {he} came to [a path that {he} knew|the edge of the woods]. There was {mom}, [looking for {him}|calling {his} name]. {h} ran into her arms. "[I was lost, but I stayed calm|I remembered what you told me]," said {h}. "[You were very brave|You did just the right thing]," said {mom}[| and held {him} tight]. {theend}
"""},
    # A wish that is not as good as it sounds.
    {"cast": "any", "table": [
        {"wish": "I wish I were very big", "now": "as big as a house", "bad": "{He} could not fit through the door, and nobody wanted to play with {him}", "back": "I want to be small again"},
        {"wish": "I wish I were very small", "now": "as small as a bug", "bad": "A drop of rain was like a lake to {him}, and a bird tried to eat {him}", "back": "I want to be my old size again"},
        {"wish": "I wish it were always night", "now": "in the dark all day long", "bad": "The flowers closed, the birds were quiet, and {h} was cold", "back": "I want the sun to come back"},
        {"wish": "I wish I could fly", "now": "high up in the sky", "bad": "The wind was cold and strong, and {h} did not know how to come down", "back": "I want to stand on the ground again"},
        {"wish": "I wish everything were made of cake", "now": "in a world of cake", "bad": "The bed was sticky, the trees fell over, and {h} wanted only some water", "back": "I want everything to be as it was before"},
    ], "text": """
{open} {day} {S} [found|saw] a [shiny|round|strange] stone [by the river|in the sand|on the path|under a tree]. When {he} picked it up, the stone [began to glow|felt warm] and spoke. "I am a magic stone," it said. "I can give you [one wish|a wish]." [{h} was very surprised.|{h} could not believe it.] {He} thought for a moment. "{wish}," {he} said.

[Puff!|The stone flashed.] All at once, {h} was {now}. ["Wow!" said {h}.|At first, it was fun.] But soon {he} was not so happy. {bad}. [{h} {sad}.|"This is not what I wanted," said {h}.] {He} [held the stone tight|took the stone in {his} hand]. "Please, magic stone," {he} said, "{back}."

The stone [glowed again|flashed once more], and everything was [fine|as it was before]. {h} [put the stone back|gave the stone back to the river] and ran home to {mom}. "[I am happy just as I am|I have all I need right here]," said {h}. {theend}
"""},
]
