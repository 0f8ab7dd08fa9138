"""Plots that turn on a friend: help, sharing, kindness and making up."""

PLOTS = [
    # Something is stuck up high; the right helper gets it down.
    {"cast": "any", "pair": True, "others": "squirrel kitten bear mouse".split(), "table": [
        {"thing": "ball", "up": "threw {his} ball too high, and it got stuck in a tree"},
        {"thing": "kite", "up": "was flying {his} kite when the wind blew it into a tall tree"},
        {"thing": "hat", "up": "lost {his} hat in the wind, and it got stuck on a high branch"},
        {"thing": "balloon", "up": "let go of {his} red balloon, and it flew up into a tree"},
        {"thing": "paper plane", "up": "threw {his} paper plane up, and it landed at the top of a tree"},
    ], "text": """
{open} {day} {S} {up}. {h} jumped [as high as {he} could|up and up], but {he} could not reach it. {He} shook the tree, but the {thing} did not fall down. [{h} {sad}.|"Oh no, my {thing}!" {h} cried.]

{friend} [came by|walked by|heard {him}] and asked, "[What is wrong|Why are you so sad]?" "My {thing} is stuck in the tree," said {h}. "[I am too small to reach it|I cannot get it down]." {f} looked up. "[I am good at climbing|I can climb well]," {fhe} said. "[Let me try|I will help you]." {f} climbed [slowly and carefully|from branch to branch] until {fhe} could touch the {thing}. {Fhe} [gave it a push, and it fell down into {h}'s hands|took it and climbed back down].

{thanks} {welcome} [Then they played with the {thing} together until the sun went down.|Then {h} let {f} have the first turn with the {thing}.|They shared the {thing} all afternoon.] {friends} {theend}
"""},
    # Sharing makes it better.
    {"cast": "any", "pair": True, "table": [
        {"treat": "a big cake", "part": "a big piece of the cake", "have": "cake"},
        {"treat": "a basket of {snack}", "part": "half of the {snack}", "have": "basket"},
        {"treat": "a large pie", "part": "half of the pie", "have": "pie"},
        {"treat": "a loaf of warm bread", "part": "half of the bread", "have": "bread"},
        {"treat": "a bag of nuts", "part": "a handful of nuts", "have": "bag"},
    ], "text": """
{open} {day} {S} had {treat}. {He} [sat down under a tree|went to the {place}] to eat it [all alone|all by {himself}]. {friend} came and [sat down beside {him}|said hello]. "That looks good," {fhe} said. "[May I have some|Can I have a little bit], please?" "No!" said {h}. "It is all mine." {f} [looked down at the ground and walked away|said nothing and went away].

{h} began to eat, but it did not taste [very good|as good as {he} had hoped]. [It was too quiet.|There was nobody to talk to.] {He} thought of {f}'s sad [face|eyes]. "[I was not kind|That was mean of me]," {h} thought. {He} [took the {have} and ran after {f}|picked up the {have} and went to find {f}]. [{f} was sitting alone by the water.|{f} was sitting on a log, all alone.]

"I am sorry, {f}," said {h}. "[Please eat with me|Let us share]." {He} gave {fhim} {part}. {f} [smiled|smiled and wiped {fhis} eyes]. "Thank you," {fhe} said. They ate together and [told funny stories|laughed a lot]. Now it tasted [wonderful|sweet]. [{h} learned that it is more fun to share.|"It is better when we share," said {h}.|{friends}] {theend}
"""},
    # Somebody new, and lonely.
    {"cast": "any", "new": True, "table": [
        {"game": "play hide and seek", "do": "hid behind the trees"},
        {"game": "build a tower of stones", "do": "put one stone on top of the other"},
        {"game": "jump in the puddles", "do": "jumped in every puddle they could find"},
        {"game": "roll down the hill", "do": "rolled down the soft green hill"},
        {"game": "look for shells by the water", "do": "found white shells and pink shells"},
        {"game": "play ball", "do": "threw the ball back and forth"},
    ], "text": """
{open} {day} {S} was playing in the {place} with {his} friends. {h} saw a [new|shy] {fchild} [standing behind a tree|sitting alone on a log]. {Fhe} [looked sad|looked lonely] and did not say a word. [Nobody talked to {fhim}.|The others did not see {fhim}.] {h} [remembered a time when {he} had been new|knew how it felt to be alone]. So {he} [left the game and walked over|walked over to {fhim}].

"Hello, my name is {h}," {he} said. "What is your name?" "I am {f}," said the {fchild} [in a quiet voice|softly]. "I [just moved here|am new here], and I do not have any friends." {h} [smiled|held out {his} hand]. "[Now you have one|I will be your friend]," {he} said. "[Do you want to {game}?|Come and {game} with us!]"

{f}'s eyes lit up. The two of them [ran to the others|ran off together]. They {do} and [laughed all afternoon|laughed until their tummies hurt]. When it was time to go home, {f} [waved and waved|gave {h} a small flower]. "[This was the best day|I was afraid that nobody would like me, but now I am happy]," {fhe} said. {friends} {theend}
"""},
    # A lost baby animal goes back to its mother.
    {"cast": "any", "pair": True, "table": [
        {"baby": "bird", "grown": "bird", "found": "under a tree", "mother": "in a nest above them", "carry": "carried it up to the nest", "cry": "Peep, peep"},
        {"baby": "duckling", "grown": "duck", "found": "in the tall grass", "mother": "on the pond with her other babies", "carry": "carried it to the water", "cry": "Quack, quack"},
        {"baby": "lamb", "grown": "sheep", "found": "behind a bush", "mother": "on the other side of the fence", "carry": "led it through the gate", "cry": "Baa, baa"},
        {"baby": "chick", "grown": "hen", "found": "beside the road", "mother": "in the yard of the farm", "carry": "carried it back to the farm", "cry": "Cheep, cheep"},
        {"baby": "bunny", "grown": "rabbit", "found": "on the path", "mother": "by a hole in the ground", "carry": "carried it gently to the hole", "cry": "Squeak, squeak"},
    ], "text": """
{open} {day} {S} was walking in the {place}. "{cry}!" {h} heard a [small|tiny] voice. {He} [stopped and looked around|looked everywhere]. {found}, there was a baby {baby}. It was [shaking|all alone] and looked scared. "[Poor little {baby}|Oh, you are so small]," said {h}. "[Where is your mother|Did you lose your mother]?"

{h} did not know what to do, so {he} [called|went to get] {companion}. "We must find its mother," said {f}. "[She must be very worried|She cannot be far away]." They [walked slowly and listened|looked here and looked there]. [At last|After a while], {h} heard [a loud cry|somebody calling]. The mother {grown} was {mother}! {h} and {f} [very carefully|slowly] {carry}.

The mother was [so happy to have her baby back|full of joy]. The baby {baby} [pressed close to her|closed its eyes and felt safe]. ["We did it," said {f}.|"Now they are together again," said {h}.] [{h} and {f} watched them for a long time and smiled.|It made {h} feel warm inside.] When {h} came home, {he} gave {his} own mother a [big|long] hug. {theend}
"""},
    # A friend is ill; care is returned.
    {"cast": "any", "pair": True, "known": True, "table": [
        {"bring": "a pot of hot soup", "cheer": "told {fhim} a funny story"},
        {"bring": "a bunch of yellow flowers", "cheer": "sang {fhim} a song"},
        {"bring": "some tea with honey", "cheer": "read {fhim} a book"},
        {"bring": "a soft blanket", "cheer": "sat beside {fhis} bed and talked with {fhim}"},
        {"bring": "a picture of the two of them", "cheer": "played a quiet game with {fhim}"},
    ], "text": """
{open} {day} {S} went to [visit|play with] {friend}. {h} knocked on the door, but [nobody came|it was very quiet]. {He} looked in and saw {f} in bed. "[I am sick|I do not feel well]," said {f}. "[My head hurts|My nose is red and my throat hurts]. I cannot play today." {h} [felt sorry for {fhim}|was sad for {his} friend].

{h} ran home and [thought hard|asked {mom} what to do]. "[What helps when you are sick|How can I help]?" {he} [asked|thought]. Then {he} had an idea. Soon {h} came back with {bring}. {f} [smiled for the first time that day|sat up and smiled]. {h} {cheer}. "[I feel better already|You are a good friend]," {f} said.

[After three days|The next week], {f} was well again. But now {h} had a red nose! "Achoo!" said {h}. [There was a knock at the door.|Somebody knocked at the door.] It was {f}, with {bring}. "[Now it is my turn to help you|You took care of me, so I will take care of you]," said {f}, and both of them laughed. {theend}
"""},
    # The race that kindness wins.
    {"cast": "animal", "new": True, "others": "rabbit fox squirrel puppy kitten".split(), "table": [
        {"trap": "fell into a deep hole", "rescue": "held out a long stick and pulled"},
        {"trap": "got stuck in a thorn bush", "rescue": "bent the branches aside and pulled"},
        {"trap": "stepped into deep mud and could not move", "rescue": "put a log over the mud and pulled"},
        {"trap": "hurt {fhis} foot on a sharp stone", "rescue": "put a cool leaf around {fhis} foot and waited"},
    ], "text": """
{open} {day} there was a big race in the forest. [All the animals came to watch.|Everybody wanted to win the golden cup.] {f} the {fchild} was very [proud|sure of {fhimself}]. "[I am the fastest of all|Nobody can beat me]," {fhe} said. "{h}, you are too slow to win." {h} [said nothing|only smiled]. "I will do my best," said {h}.

"Ready, set, go!" {f} ran ahead, and soon {h} could not see {fhim} anymore. But {f} was so busy looking back and laughing that {fhe} {trap}. "Help!" {fhe} called. [The others ran past.|Nobody stopped.] Then {h} came. {He} could see the end of the race, and {he} could win! But {h} stopped. {He} {rescue} until {f} was [free|on {fhis} feet again].

"Why did you help me?" asked {f}. "[I was mean to you|You could have won]." "[A friend is more than a golden cup|I could not leave you here]," said {h}. They [crossed the line together|walked to the end together], last of all. But the animals [cheered for {h}|clapped and cheered], and the old owl gave {him} the golden cup [for the kindest heart|for being so kind]. {friends} {theend}
"""},
    # Too heavy for one.
    {"cast": "any", "pair": True, "table": [
        {"load": "a big log", "where": "lay across the path", "plan": "roll it", "then": "the path was free again"},
        {"load": "a huge pumpkin", "where": "was too heavy to carry home", "plan": "roll it down the hill", "then": "they made a pot of pumpkin soup for everyone"},
        {"load": "a big stone", "where": "lay in front of the door", "plan": "push it with a long stick", "then": "the door was open again"},
        {"load": "an old boat", "where": "was stuck in the sand", "plan": "pull it with a rope", "then": "they sailed around the lake"},
        {"load": "a cart full of apples", "where": "was stuck in the mud", "plan": "push it from behind", "then": "they ate sweet red apples"},
    ], "text": """
{open} {day} {S} found {load}. It {where}. {h} pushed [with all {his} might|as hard as {he} could], but it did not move. {He} pulled and pulled, but it did not move at all. "I am strong," said {h}, "but I am not strong enough."

{friend} came along. "Can you help me, please?" asked {h}. "Of course," said {f}. [They pushed together, but it moved only a tiny bit.|Together they pushed, but it was still too heavy.] Then {f} had an idea. "[We need more help|Two are not enough]," {fhe} said. "Let us call our friends and {plan}." [So they called everyone.|{h} ran to get the others.] Soon there were [five|six|seven] of them.

"One, two, three!" shouted {h}. [Everyone pushed at the same time.|They all worked as one.] It moved [a little|slowly], and then it moved a lot! "Hooray!" they all shouted. Soon {then}. "[What is too heavy for one is easy for many|Together we can do anything]," said {h}. {theend}
"""},
    # Hide and seek goes too well.
    {"cast": "any", "pair": True, "known": True, "table": [
        {"nook": "behind a pile of hay", "soft": "The hay was warm and soft"},
        {"nook": "under a big bush", "soft": "The ground under the bush was warm and soft"},
        {"nook": "inside a hollow tree", "soft": "It was dry and quiet inside the tree"},
        {"nook": "in an old boat", "soft": "The boat rocked softly on the water"},
        {"nook": "under a pile of leaves", "soft": "The leaves were warm like a blanket"},
    ], "text": """
{open} {day} {S} and {friend} played hide and seek[| in the {place}]. "[You count first|I will hide, and you count]," said {h}. {f} closed {fhis} eyes and counted to [ten|twenty]. {h} looked for [a good place|the best place] to hide. {He} hid {nook}. {soft}. [{h} waited and waited.|"{f} will never find me here," {he} thought.] Soon {his} eyes closed, and {he} fell asleep.

{f} looked [behind the trees|near the fence] and [under the bench|behind the big stone], but {fhe} could not find {h}. "{h}, you can come out now! You win!" {f} called. Nobody answered. [The sun went down.|It was getting late.] {f} was worried. {Fhe} [ran to get {h}'s mother|called all their friends], and they all looked for {h}. Then {f} heard a [funny|strange] sound. Someone was snoring {nook}!

{f} laughed and [shook {h}'s arm|tickled {h}'s nose]. {h} opened {his} eyes. "[Did I win|Is the game over]?" {he} asked. [Everybody laughed.|They all laughed with joy.] "Yes, you won," said {f}, "but next time, please do not fall asleep!" {theend}
"""},
    # A quarrel, and making up.
    {"cast": "any", "pair": True, "known": True, "table": [
        {"over": "a red swing", "turn": "one of them pushed while the other one was on the swing"},
        {"over": "a big drum", "turn": "one of them played the drum while the other one sang"},
        {"over": "a little boat", "turn": "one of them held the string while the other one blew the sail"},
        {"over": "a blue wagon", "turn": "one of them pulled while the other one sat in the wagon"},
        {"over": "a long rope", "turn": "one of them held the rope while the other one jumped"},
    ], "text": """
{open} {day} {S} and {friend} found {over}. "[I saw it first|It is mine]!" said {h}. "No, [I saw it first|it is mine]!" said {f}. They [pulled and shouted|got angry and shouted]. "[I do not want to be your friend anymore|Go away]," said {h}. {f} [went home with tears in {fhis} eyes|ran away and did not look back].

Now {h} had it all to {himself}. But [it was no fun alone|it did not work well with only one]. {He} [sat down|sighed] and missed {f}. At the same time, {f} sat at home and missed {h}. "[I will say sorry|I should not have shouted]," both of them thought. {h} ran down the path, and {f} ran up the path, and they met in the middle.

"I am sorry!" they said at the same time, and then they [laughed|had to laugh]. "[Let us take turns|We can use it together]," said {h}. So {turn}, and then they changed places. [It was much more fun with two.|They played until it was dark.] {friends} {theend}
"""},
]
