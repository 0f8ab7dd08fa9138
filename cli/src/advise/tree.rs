//! The tree that people use to choose a kind of model, and where a user's needs lead in it.

use clap::ValueEnum;

/// What a model is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Purpose {
    /// Write text
    Generate,
    /// Read text: classify, embed, rank, tag
    Understand,
    /// Make one text of another: translate, summarize
    Transform,
}

/// One, or several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Count {
    One,
    Several,
}

/// How much memory there is beside what a growing KV cache takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CacheRoom {
    Much,
    Little,
}

/// How long texts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Length {
    Short,
    Long,
}

/// What is known of a user's needs, as far as the tree asks for it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Needs {
    pub task: Option<Purpose>,
    /// Tokens of the longest texts.
    pub tokens: Option<usize>,
    /// Whether those are long, where that is all that is known.
    pub length: Option<Length>,
    pub room: Option<CacheRoom>,
    pub languages: Option<Count>,
    pub tasks: Option<Count>,
}

impl Needs {
    /// Whether texts are longer than so many tokens.
    fn longer_than(&self, tokens: usize) -> Option<usize> {
        let long = self.length.map(|length| length == Length::Long);
        long.or(self.tokens.map(|longest| longest > tokens))
            .map(usize::from)
    }

    fn note_length(&mut self, answer: usize) {
        self.length = Some([Length::Short, Length::Long][answer]);
    }
}

/// A question of the tree.
#[derive(Debug)]
pub struct Question {
    pub text: &'static str,
    /// What answers it: an option of the command.
    pub option: &'static str,
    pub answers: &'static [Branch],
    /// Which answer a user's needs are, if they say.
    pub answered: fn(&Needs) -> Option<usize>,
    /// Notes the answer of this number.
    pub answer: fn(&mut Needs, usize),
}

/// An answer, and where it leads.
#[derive(Debug)]
pub struct Branch {
    pub label: &'static str,
    pub next: Next,
}

/// What stands behind an answer.
#[derive(Clone, Copy, Debug)]
pub enum Next {
    Question(&'static Question),
    Leaf(&'static Leaf),
}

/// Where the tree ends: a kind of model.
#[derive(Debug)]
pub struct Leaf {
    pub name: &'static str,
    /// Why.
    pub reason: &'static str,
    /// Tokens that are planned for, where nobody says how long texts are.
    pub tokens: usize,
    /// Shapes of it, the smallest first.
    pub shapes: &'static [&'static str],
}

const DECODERS: Leaf = Leaf {
    name: "decoder",
    reason: "A decoder is what most of today's models are. Its KV cache grows with the text, which costs \
             little as long as texts are short. Of experts a token reads some, so that speed is that of \
             a small model and memory that of a large one.",
    tokens: 4096,
    shapes: &[
        "smollm-135m",
        "qwen3-0.6b",
        "llama-3.2-1b",
        "llama-3.2-3b",
        "qwen3-4b",
        "olmoe-1b-7b",
        "mistral-7b",
        "llama-3-8b",
        "qwen3-14b",
        "qwen3-30b-a3b",
        "qwen3-32b",
        "mixtral-8x7b",
        "llama-3-70b",
        "mixtral-8x22b",
    ],
};

const SPARSE: Leaf = Leaf {
    name: "sparse attention",
    reason: "Where layers look through a window, most of a long text costs them nothing, and those that \
             see all of it keep what is far away. Longformer and BigBird attend so as well, but they \
             read and do not write; LED, of their kin, makes one text of another, and is found there. There \
             must be memory for the cache.",
    tokens: 32768,
    shapes: &[
        "gemma3-270m",
        "gemma3-1b",
        "gemma3-4b",
        "gemma3-12b",
        "gemma3-27b",
    ],
};

const CONSTANT: Leaf = Leaf {
    name: "state space or retention",
    reason: "A state of constant size holds whatever was read: memory and the time of a token do not grow \
             with the text, however long it is. What is far back is kept in essence and not to the \
             letter.",
    tokens: 32768,
    shapes: &[
        "mamba-130m",
        "mamba-370m",
        "retnet-370m",
        "mamba2-370m",
        "mamba-1.4b",
        "retnet-1.3b",
        "mamba-2.8b",
        "retnet-2.7b",
        "retnet-6.7b",
        "mamba-7b",
    ],
};

const MULTILINGUAL: Leaf = Leaf {
    name: "XLM-R",
    reason: "XLM-R has read a hundred languages with one vocabulary of 250,000 pieces, whose table is \
             more than half of the smaller one's parameters, and of which a text reads some rows.",
    tokens: 512,
    shapes: &["xlm-r-base", "xlm-r-large"],
};

const BERT: Leaf = Leaf {
    name: "BERT",
    reason: "An encoder sees a whole text at once, from both sides, and reads it in one run: many times \
             as fast as a decoder of its size that writes its judgement.",
    tokens: 512,
    shapes: &[
        "bert-base",
        "roberta-base",
        "modernbert-base",
        "bert-large",
        "modernbert-large",
    ],
};

const LONG_ENCODERS: Leaf = Leaf {
    name: "sparse encoder",
    reason: "BERT reads 512 tokens. Encoders whose layers look through windows read thousands, in a time \
             that grows with the text and not with its square.",
    tokens: 4096,
    shapes: &[
        "modernbert-base",
        "longformer-base",
        "big-bird-base",
        "modernbert-large",
        "longformer-large",
    ],
};

const FLAN_T5: Leaf = Leaf {
    name: "Flan-T5",
    reason: "Flan-T5 is T5 that was taught to follow instructions: one model for many tasks, each said \
             in words. It was trained on texts of 512 tokens: what is longer is cut into parts.",
    tokens: 512,
    shapes: &[
        "flan-t5-small",
        "flan-t5-base",
        "flan-t5-large",
        "flan-t5-xl",
        "flan-t5-xxl",
    ],
};

const T5: Leaf = Leaf {
    name: "T5",
    reason: "For one task an encoder-decoder that was tuned for it is small and fast: the text is read \
             once, and what is written attends to it.",
    tokens: 512,
    shapes: &["t5-small", "t5-base", "t5-large", "t5-3b"],
};

const LONG_T5: Leaf = Leaf {
    name: "long encoder-decoder",
    reason: "T5 was trained on texts of 512 tokens. LED and LongT5 attend through windows in their \
             encoders, which read thousands in a time that grows with the text and not with its square; \
             their decoders see all that was read.",
    tokens: 8192,
    shapes: &["led-base", "longt5-base", "led-large", "longt5-large"],
};

const ROOM: Question = Question {
    text: "Is there memory for a cache that grows with the text?",
    option: "--memory, or --room",
    answers: &[
        Branch {
            label: "much",
            next: Next::Leaf(&SPARSE),
        },
        Branch {
            label: "little",
            next: Next::Leaf(&CONSTANT),
        },
    ],
    answered: |needs| Some(usize::from(needs.room? == CacheRoom::Little)),
    answer: |needs, number| needs.room = Some([CacheRoom::Much, CacheRoom::Little][number]),
};

/// Texts that a KV cache of a decoder of any size holds.
pub const LONG: usize = 8192;

const LONG_WRITING: Question = Question {
    text: "Texts of more than 8192 tokens?",
    option: "--ctx-size",
    answers: &[
        Branch {
            label: "no",
            next: Next::Leaf(&DECODERS),
        },
        Branch {
            label: "yes",
            next: Next::Question(&ROOM),
        },
    ],
    answered: |needs| needs.longer_than(LONG),
    answer: Needs::note_length,
};

const LONG_READING: Question = Question {
    text: "Texts of more than 512 tokens?",
    option: "--ctx-size",
    answers: &[
        Branch {
            label: "no",
            next: Next::Leaf(&BERT),
        },
        Branch {
            label: "yes",
            next: Next::Leaf(&LONG_ENCODERS),
        },
    ],
    answered: |needs| needs.longer_than(512),
    answer: Needs::note_length,
};

const LONG_TRANSFORMING: Question = Question {
    text: "Texts of more than 2048 tokens?",
    option: "--ctx-size",
    answers: &[
        Branch {
            label: "no",
            next: Next::Leaf(&T5),
        },
        Branch {
            label: "yes",
            next: Next::Leaf(&LONG_T5),
        },
    ],
    answered: |needs| needs.longer_than(2048),
    answer: Needs::note_length,
};

const LANGUAGES: Question = Question {
    text: "In several languages?",
    option: "--languages",
    answers: &[
        Branch {
            label: "one",
            next: Next::Question(&LONG_READING),
        },
        Branch {
            label: "several",
            next: Next::Leaf(&MULTILINGUAL),
        },
    ],
    answered: |needs| Some(usize::from(needs.languages? == Count::Several)),
    answer: |needs, number| needs.languages = Some([Count::One, Count::Several][number]),
};

const TASKS: Question = Question {
    text: "Several tasks?",
    option: "--tasks",
    answers: &[
        Branch {
            label: "one",
            next: Next::Question(&LONG_TRANSFORMING),
        },
        Branch {
            label: "several",
            next: Next::Leaf(&FLAN_T5),
        },
    ],
    answered: |needs| Some(usize::from(needs.tasks? == Count::Several)),
    answer: |needs, number| needs.tasks = Some([Count::One, Count::Several][number]),
};

/// Where it begins.
pub const TREE: Question = Question {
    text: "What is the model to do?",
    option: "--task",
    answers: &[
        Branch {
            label: "generate",
            next: Next::Question(&LONG_WRITING),
        },
        Branch {
            label: "understand",
            next: Next::Question(&LANGUAGES),
        },
        Branch {
            label: "transform",
            next: Next::Question(&TASKS),
        },
    ],
    answered: |needs| Some(needs.task? as usize),
    answer: |needs, number| {
        needs.task = Some([Purpose::Generate, Purpose::Understand, Purpose::Transform][number]);
    },
};

/// The questions that were answered, by what, and where they lead.
#[derive(Debug)]
pub struct TreePath {
    pub steps: Vec<(&'static Question, usize)>,
    pub leaf: &'static Leaf,
}

/// Follows a user's needs; `ask` is asked what they do not say.
pub fn follow<E>(
    needs: &mut Needs,
    mut ask: impl FnMut(&'static Question) -> Result<usize, E>,
) -> Result<TreePath, E> {
    let mut steps = Vec::new();
    let mut question = &TREE;
    loop {
        let number = match (question.answered)(needs) {
            Some(number) => number,
            None => {
                let number = ask(question)?;
                (question.answer)(needs, number);
                number
            }
        };
        steps.push((question, number));
        match question.answers[number].next {
            Next::Question(next) => question = next,
            Next::Leaf(leaf) => return Ok(TreePath { steps, leaf }),
        }
    }
}
