//! BART (Lewis et al. 2020), and mBART (Liu et al. 2020), whose norms come first. Their decoders read
//! the encoder's text once more where they are given none, and so classify and mark texts.

use super::bart_tables::{KEYS, NAMES, SCALED, SETTLED_LIKE_BART, SETTLED_LIKE_MBART, converted};
use super::beginnings::BEGINNINGS;
use super::encoder_decoder::{
    Arrangement, ClassDefaults, EmbeddingNorm, NormPlace, Positions, SEES_ALL, build,
};
use super::{Architecture, Conversion, DECODER, Family};
use crate::graph::blocks::head;
use crate::graph::{BuildError, Builder, Net, Pointwise, ReadAt, SecondReading, Value};

const BART_ARRANGEMENT: Arrangement = Arrangement {
    norms: NormPlace::Last,
    // Of fairseq's dictionary, positions of padding and what stands before it.
    positions: Positions::Learned(2),
    embedding_norm: EmbeddingNorm::WithPositions,
    encoder_mask: SEES_ALL,
    usual: ClassDefaults {
        activation: "gelu",
        scales_embedding: false,
        padding: 1,
        start: Some(2),
        end: 2,
    },
};

const MBART_ARRANGEMENT: Arrangement = Arrangement {
    norms: NormPlace::First,
    usual: ClassDefaults {
        start: None,
        ..BART_ARRANGEMENT.usual
    },
    ..BART_ARRANGEMENT
};

pub(super) const BART: Architecture = Architecture {
    title: "BART",
    gguf: &["bart"],
    hugging_face: &["bart"],
    family: Family::EncoderDecoder,
    keys: &[KEYS, BEGINNINGS, SCALED],
    settled: SETTLED_LIKE_BART,
    ties: true,
    names: &[NAMES],
    conversion: Conversion {
        keys: converted,
        ..Conversion::PLAIN
    },
    build: |model| {
        let usual = BART_ARRANGEMENT.usual;
        let start = model.config().token("decoder_start_token_id")?;
        let reading = SecondReading::From(start.or(usual.start).unwrap_or(0));
        build(model, &BART_ARRANGEMENT, |net, x| {
            ends(net, x, reading, usual)
        })
    },
    ..DECODER
};

pub(super) const MBART: Architecture = Architecture {
    title: "mBART",
    gguf: &["mbart"],
    hugging_face: &["mbart"],
    settled: SETTLED_LIKE_MBART,
    conversion: Conversion {
        keys: converted,
        ..Conversion::PLAIN
    },
    build: |model| {
        let usual = MBART_ARRANGEMENT.usual;
        // The token of the language, which stands last.
        let padding = model.config().token("padding_token_id")?;
        let reading = SecondReading::Around(padding.unwrap_or(usual.padding));
        build(model, &MBART_ARRANGEMENT, |net, x| {
            ends(net, x, reading, usual)
        })
    },
    ..BART
};

/// What the checkpoint's class makes of the decoder's rows.
fn ends(
    net: &Net<'_, '_>,
    x: Value,
    reading: SecondReading,
    usual: ClassDefaults,
) -> Result<(), BuildError> {
    let model: &Builder<'_> = net.builder;
    let config = model.config();
    let class = config.class().unwrap_or("ForConditionalGeneration");
    let task = ["Bart", "MBart"]
        .iter()
        .find_map(|begin| class.strip_prefix(begin))
        .unwrap_or(class);
    match task {
        "ForConditionalGeneration" => net.emit(head(net, x)?, "logits"),
        "ForSequenceClassification" => {
            // V tanh(W x) of the row at the place of the text's end.
            let h = net.apply(net.linear(x, "cls", net.width(x))?, Pointwise::Tanh);
            let labels = model.rows("cls.output.weight")?;
            net.emit(net.linear(h, "cls.output", labels)?, "logits");
            let end = config.token("eos_token_id")?.unwrap_or(usual.end);
            model.reads_at(ReadAt::LastOf(end));
        }
        "ForQuestionAnswering" => {
            let both = net.linear(x, "qa_outputs", 2)?;
            net.emit_numbers(net.slice(both, 0, 1), "start_logits");
            net.emit_numbers(net.slice(both, 1, 1), "end_logits");
        }
        "Model" => net.emit(x, "last_hidden_state"),
        _ => {
            let known = "a class of BART or mBART: the model, or for ConditionalGeneration, \
                         SequenceClassification or QuestionAnswering";
            return Err(config.invalid_class(known));
        }
    }
    model.reads_again(reading);
    Ok(())
}
