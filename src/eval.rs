//! Runs inputs in transformers' terms and hands over outputs in transformers' terms: how a
//! model is compared with its authors' implementation.

mod lists;

use crate::error::RunError;
use crate::exec::{Columns, Output, Row};
use crate::graph::op::Emit;
use crate::graph::{Counting, Graph, Op, Role, RowSpace, Segments};
use crate::json;
use crate::model::Model;
use crate::session::{Session, SessionOptions, counts_together};
use lists::{choices_of, joined, matrix, same_shape, segments};
use serde_json::Value as Json;

/// What the scores of a question's tokens lose, which are no part of an answer.
const NO_ANSWER: f32 = 1e6;

/// How an input is cut into feeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// All at once.
    Whole,
    /// So many positions of every sequence at a time.
    Batch(usize),
}

/// Token ids of a padded batch: `[batch][n]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ids {
    ids: Vec<Vec<u32>>,
    /// Whether each is real.
    mask: Option<Vec<Vec<u32>>>,
    token_types: Option<Vec<Vec<u32>>>,
    positions: Option<Vec<Vec<u32>>>,
    /// Whether each sees all and is seen by all.
    global: Option<Vec<Vec<u32>>>,
}

/// An input as `forward` takes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EvalInput {
    input: Ids,
    decoder: Option<Ids>,
    /// How many sequences one is to be chosen of, if they stand in lists of that many.
    choices: Option<usize>,
    /// How models with memories of earlier segments cut it.
    segments: Option<Vec<usize>>,
    /// Whether sparse attention sees blocks at random.
    random_attention: bool,
}

/// One output's name and extents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputShape {
    /// transformers' name.
    pub name: &'static str,
    /// `[batch, n, width]`, `[batch, width]` for one per sequence, `[batch, n]` for numbers such
    /// as `start_logits`.
    pub shape: Vec<u64>,
}

/// One row of one output: where it goes in the tensor of [`OutputShape`].
#[derive(Clone, Copy, Debug)]
pub struct EvalRow<'a> {
    /// Index into the list of [`EvalInput::outputs`].
    pub output: usize,
    /// Index of its first float in the flat tensor.
    pub start: usize,
    /// The values.
    pub values: &'a [f32],
}

const KEYS: &[&str] = &[
    "input_ids",
    "attention_mask",
    "token_type_ids",
    "position_ids",
    "decoder_input_ids",
    "decoder_attention_mask",
    "global_attention_mask",
    "segment_lengths",
    "random_attention",
];

impl EvalInput {
    /// Reads `{"input_ids": [[…]], "attention_mask": [[…]], …}`.
    ///
    /// # Errors
    /// Says which key is missing, unknown or of the wrong form.
    pub fn parse(json: &[u8]) -> Result<EvalInput, RunError> {
        let json: Json = json::parse(json)
            .map_err(|error| RunError::Input(format!("input is not JSON: {error}")))?;
        let Json::Object(object) = &json else {
            return Err(RunError::Input("input is not a JSON object".to_string()));
        };
        if let Some(unknown) = object.keys().find(|key| !KEYS.contains(&key.as_str())) {
            let what = format!("key {unknown:?} is not known, expected {}", KEYS.join(", "));
            return Err(RunError::Input(what));
        }
        let choices = object.get("input_ids").and_then(choices_of);
        let read = |key: &str| match (object.get(key), choices) {
            (None, _) => Ok(None),
            (Some(value), None) => matrix(key, value).map(Some),
            (Some(value), Some(choices)) => matrix(key, &joined(key, value, choices)?).map(Some),
        };
        let ids = read("input_ids")?;
        let ids = ids.ok_or_else(|| RunError::Input("key \"input_ids\" is missing".into()))?;
        let like = |key: &str, shape: &[Vec<u32>]| -> Result<Option<Vec<Vec<u32>>>, RunError> {
            let found = read(key)?;
            if let Some(found) = &found {
                same_shape(key, found, shape)?;
            }
            Ok(found)
        };
        let decoder = match read("decoder_input_ids")? {
            Some(ids) => {
                let mask = like("decoder_attention_mask", &ids)?;
                Some(Ids {
                    mask,
                    ids,
                    token_types: None,
                    positions: None,
                    global: None,
                })
            }
            None => None,
        };
        let input = Ids {
            mask: like("attention_mask", &ids)?,
            token_types: like("token_type_ids", &ids)?,
            positions: like("position_ids", &ids)?,
            global: like("global_attention_mask", &ids)?,
            ids,
        };
        let mut global = input.global.iter().flatten().flatten();
        if let Some(other) = global.find(|global| **global > 1) {
            let what = format!("key \"global_attention_mask\": found {other}, expected 0 or 1");
            return Err(RunError::Input(what));
        }
        let segments = match read("segment_lengths")? {
            Some(lines) => Some(segments(
                &lines,
                decoder.as_ref().unwrap_or(&input).width(),
            )?),
            None => None,
        };
        let random_attention = match object.get("random_attention") {
            None => false,
            Some(Json::Bool(random)) => *random,
            Some(other) => {
                let what =
                    format!("key \"random_attention\": found {other}, expected a truth value");
                return Err(RunError::Input(what));
            }
        };
        let input = EvalInput {
            input,
            decoder,
            choices,
            segments,
            random_attention,
        };
        if input
            .decoder
            .as_ref()
            .is_some_and(|decoder| decoder.ids.len() != input.input.ids.len())
        {
            let what = "decoder_input_ids and input_ids differ in the number of sequences";
            return Err(RunError::Input(what.to_string()));
        }
        Ok(input)
    }

    /// Lets sparse attention see blocks at random, as where its authors' code trains.
    #[must_use]
    pub fn with_random_attention(self) -> EvalInput {
        EvalInput {
            random_attention: true,
            ..self
        }
    }

    /// The outputs that `model` will give for this input.
    pub fn outputs(&self, model: &Model) -> Vec<OutputShape> {
        let graphs = [Role::Encode, Role::Decode]
            .into_iter()
            .filter_map(|role| model.graph(role));
        let reads_one = model.read_at().is_some();
        let emits = graphs.flat_map(|graph| {
            let ids = self.ids_of(model, graph);
            emits(graph).map(move |emit| {
                let (batch, n) = (ids.ids.len() as u64, ids.width() as u64);
                let (info, name) = (graph.info(emit.x), emit.name);
                let mut shape = match info.space {
                    RowSpace::Selected | RowSpace::Source if reads_one => vec![batch],
                    RowSpace::Sequence => match self.choices {
                        Some(choices) => vec![batch / choices as u64, choices as u64],
                        None => vec![batch],
                    },
                    RowSpace::Step | RowSpace::Source | RowSpace::Selected => vec![batch, n],
                };
                shape.extend((!emit.squeezed).then_some(info.width as u64));
                OutputShape { name, shape }
            })
        });
        emits.collect()
    }

    /// Runs the input. Rows of `sink` come in no particular order; positions under the mask
    /// get none.
    ///
    /// # Errors
    /// What the model does not use or lacks, and whatever [`Session::feed`] refuses.
    pub fn run(
        &self,
        model: &Model,
        cut: Cut,
        sink: &mut (dyn FnMut(EvalRow<'_>) + Send),
    ) -> Result<(), RunError> {
        self.check(model, cut)?;
        let limits = model.limits();
        let of_decoder = (limits.vocabulary, limits.positions);
        let of_source = match model.graph(Role::Encode) {
            Some(_) => (limits.source_vocabulary, limits.source_positions),
            None => of_decoder,
        };
        self.input.check("input_ids", model, of_source)?;
        if let Some(decoder) = &self.decoder {
            decoder.check("decoder_input_ids", model, of_decoder)?;
        }
        let read_again = self.read_again(model);
        let places = self.places(model)?;
        let decoder = self.decoder.as_ref().or(read_again.as_ref());
        let decoder = decoder.unwrap_or(&self.input);
        let batch = self.input.ids.len();
        let most = SessionOptions::MOST;
        let source = match model.encodes() {
            true => self.input.longest().max(1),
            false => 1,
        };
        for (what, count) in [("sequences", batch), ("tokens in one", source)] {
            if count > most {
                let what =
                    format!("key \"input_ids\" has {count} {what}, at most {most} are taken");
                return Err(RunError::Input(what));
            }
        }
        let longest = decoder.width().max(1);
        let step = match cut {
            Cut::Whole => longest,
            Cut::Batch(step) => step.max(1),
        };
        let most = match counts_together(model) {
            true => most,
            false => SessionOptions::default().batch,
        };
        let options = SessionOptions {
            context: longest,
            sequences: batch,
            batch: batch.saturating_mul(step).min(most),
            source,
            checkpoints: 0,
            random_attention: self.random_attention,
            ..SessionOptions::default()
        };
        let mut session = Session::new(model, options)?;
        let shapes = self.outputs(model);
        let place =
            |output: &Output<'_>, row: &(Row, usize), width: usize| -> Option<(usize, usize)> {
                let index = shapes.iter().position(|shape| shape.name == output.name)?;
                let sequence = row.0.sequence as usize;
                let at = match output.space {
                    RowSpace::Sequence => sequence,
                    RowSpace::Selected | RowSpace::Source if places.is_some() => sequence,
                    _ => sequence * width + row.1,
                };
                Some((index, at * output.values.len()))
            };
        if model.graph(Role::Encode).is_some() {
            let mut rows: Vec<(Row, usize)> = self.input.rows(model.counting()).collect();
            if model.decodes() && self.input.global.is_none() {
                // The class leaves it to whoever writes texts with it.
                rows.iter_mut()
                    .for_each(|(row, _)| row.global = Some(false));
            }
            let questions = model.question_separator();
            let questions = questions.map(|separator| self.input.questions(separator));
            if let (Some(lengths), None) = (&questions, &self.input.token_types) {
                for (row, column) in &mut rows {
                    row.token_type = u32::from(*column >= lengths[row.sequence as usize]);
                }
            }
            let fed: Vec<Row> = rows.iter().map(|row| row.0).collect();
            let columns: Vec<u32> = rows.iter().map(|row| row.1 as u32).collect();
            let width = self.input.width();
            let columns = Columns {
                of_rows: &columns,
                width: u32::try_from(width).unwrap_or(u32::MAX),
            };
            session.encode_padded(&fed, Some(columns), &mut |output| {
                let row = &rows[output.row];
                let read = places
                    .as_ref()
                    .map(|places| places[row.0.sequence as usize]);
                let Some((index, start)) = place(&output, row, width) else {
                    return;
                };
                // An encoder hands over all of its rows.
                if read.is_some_and(|read| read != row.1) {
                    return;
                }
                let lengths = questions.as_ref();
                let asks = lengths
                    .is_some_and(|lengths| (1..lengths[row.0.sequence as usize]).contains(&row.1));
                let hidden: Vec<f32>;
                let values = match asks {
                    true => {
                        hidden = output
                            .values
                            .iter()
                            .map(|value| value - NO_ANSWER)
                            .collect();
                        &hidden
                    }
                    false => output.values,
                };
                sink(EvalRow {
                    output: index,
                    start,
                    values,
                });
            })?;
        }
        if model.graph(Role::Decode).is_some() {
            let cuts = match (&self.segments, cut) {
                (Some(segments), Cut::Whole) => segments.clone(),
                _ => vec![step; longest.div_ceil(step)],
            };
            let mut start = 0usize;
            for count in cuts {
                let part = start..start.saturating_add(count);
                start = part.end;
                let rows = decoder.rows(model.counting());
                let mut rows: Vec<(Row, usize)> =
                    rows.filter(|(_, column)| part.contains(column)).collect();
                for (row, column) in &mut rows {
                    let places = places.as_ref();
                    let place = places.map(|places| places[row.sequence as usize]);
                    row.emit = place.is_none_or(|place| place == *column);
                }
                let fed: Vec<Row> = rows.iter().map(|row| row.0).collect();
                session.feed(&fed, &mut |output| {
                    if let Some((index, start)) = place(&output, &rows[output.row], decoder.width())
                    {
                        sink(EvalRow {
                            output: index,
                            start,
                            values: output.values,
                        });
                    }
                })?;
                if model.segments().is_some() {
                    for sequence in 0..batch {
                        session.end_segment(sequence as u32)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn check(&self, model: &Model, cut: Cut) -> Result<(), RunError> {
        let title = model.architecture().title;
        let rows = model.segments().and_then(Segments::rows);
        let rows = rows.unwrap_or(usize::MAX);
        let refuse = |what: String| Err(RunError::Input(what));
        match (
            model.graph(Role::Encode),
            model.graph(Role::Decode),
            &self.decoder,
        ) {
            (Some(_), Some(_), None) if model.second_reading().is_none() => refuse(format!(
                "key \"decoder_input_ids\" is missing, {title} needs them"
            )),
            (None, _, Some(_)) | (_, None, Some(_)) => refuse(format!(
                "key \"decoder_input_ids\" is given, but {title} has one input"
            )),
            (Some(_), None, None) if cut != Cut::Whole => refuse(format!(
                "{title} sees its input whole, it cannot be fed step by step"
            )),
            (None, Some(_), _) if self.cuts(model, cut) > rows => refuse(format!(
                "a segment has {} tokens, {title} takes at most {rows}",
                self.cuts(model, cut)
            )),
            _ if self.choices.is_some() && !chooses(model) => refuse(format!(
                "key \"input_ids\" has lists of choices, but this {title} scores none"
            )),
            _ if self.segments.is_some() && model.segments().is_none() => refuse(format!(
                "key \"segment_lengths\" is given, but {title} has no segments"
            )),
            _ if self.input.global.is_some() && model.global_rows().is_none() => refuse(format!(
                "key \"global_attention_mask\" is given, but {title} has no global attention"
            )),
            _ if self.input.token_types.is_some() && model.limits().token_types == u64::MAX => {
                refuse(format!(
                    "key \"token_type_ids\" is given, but {title} has no token types"
                ))
            }
            _ => Ok(()),
        }
    }

    /// What the decoder reads where it is given no text: no mask says what of it is padding.
    fn read_again(&self, model: &Model) -> Option<Ids> {
        let reading = model.second_reading()?;
        let ids = self.input.ids.iter().map(|ids| reading.tokens(ids));
        Some(Ids {
            ids: ids.collect(),
            ..Ids::default()
        })
    }

    /// The column of each sequence's only output, where a decoder has one.
    fn places(&self, model: &Model) -> Result<Option<Vec<usize>>, RunError> {
        let Some(read_at) = model.read_at() else {
            return Ok(None);
        };
        let width = self.decoder.as_ref().map_or(usize::MAX, Ids::width);
        let mut places = Vec::new();
        for (sequence, ids) in self.input.ids.iter().enumerate() {
            let place = read_at.place(ids).map_err(|token| {
                RunError::Input(format!(
                    "input_ids[{sequence}] has no token {token}, at whose place the output is"
                ))
            })?;
            if place >= width {
                return Err(RunError::Input(format!(
                    "decoder_input_ids[{sequence}] ends before the place of the output"
                )));
            }
            places.push(place);
        }
        Ok(Some(places))
    }

    /// Tokens of the longest segment that is asked for.
    fn cuts(&self, model: &Model, cut: Cut) -> usize {
        match (cut, &self.segments) {
            (Cut::Batch(step), _) if model.segments().is_some() => step.min(self.input.width()),
            (Cut::Whole, Some(segments)) => segments.iter().copied().max().unwrap_or(0),
            _ => 0,
        }
    }

    fn ids_of(&self, model: &Model, graph: &Graph) -> &Ids {
        match (graph.role, model.graph(Role::Encode), &self.decoder) {
            (Role::Decode, Some(_), Some(decoder)) => decoder,
            _ => &self.input,
        }
    }
}

impl Ids {
    fn width(&self) -> usize {
        self.ids.first().map_or(0, Vec::len)
    }

    /// Real rows of the sequence that has most.
    fn longest(&self) -> usize {
        let mut counts = vec![0usize; self.ids.len()];
        for (row, _) in self.rows(Counting::Columns) {
            counts[row.sequence as usize] += 1;
        }
        counts.into_iter().max().unwrap_or(0)
    }

    /// How many columns each sequence's question takes, with the separator that ends it; the first
    /// column, if none does.
    fn questions(&self, separator: u32) -> Vec<usize> {
        let end = |ids: &Vec<u32>| ids.iter().position(|&id| id == separator).unwrap_or(0);
        self.ids.iter().map(|ids| end(ids) + 1).collect()
    }

    /// That the model has these tokens and positions; `key` is what the user calls the ids.
    fn check(
        &self,
        key: &str,
        model: &Model,
        (vocabulary, positions): (u64, u64),
    ) -> Result<(), RunError> {
        self.check_positions(model.counting())?;
        for (row, column) in self.rows(model.counting()) {
            let (sequence, token) = (row.sequence, u64::from(row.token));
            let what = if token >= vocabulary {
                format!(
                    "{key}[{sequence}][{column}] is {token}, expected a token below {vocabulary}"
                )
            } else if row.position >= positions {
                format!(
                    "{key}[{sequence}][{column}] is at position {}, the model has {positions} positions",
                    row.position
                )
            } else {
                continue;
            };
            return Err(RunError::Input(what));
        }
        Ok(())
    }

    /// That positions which are given and count from behind the padding's do, as those of all
    /// tokens but padding.
    fn check_positions(&self, counting: Counting) -> Result<(), RunError> {
        let (Counting::Unpadded(padding), Some(positions)) = (counting, &self.positions) else {
            return Ok(());
        };
        for (row, column) in self.rows(counting) {
            let (sequence, given) = (row.sequence, positions[row.sequence as usize][column]);
            let expected = match row.token == padding {
                true if given != padding => format!("{padding}, that of padding"),
                false if given <= padding => format!("a position above {padding}, padding's"),
                _ => continue,
            };
            let what =
                format!("position_ids[{sequence}][{column}] is {given}, expected {expected}");
            return Err(RunError::Input(what));
        }
        Ok(())
    }

    /// Real rows and their columns, sequence by sequence. Positions are those that the
    /// reference's plain `forward` gives: what they are counted over is counted from 0 on.
    fn rows(&self, counting: Counting) -> impl Iterator<Item = (Row, usize)> + '_ {
        let at = |of: &Option<Vec<Vec<u32>>>, sequence: usize, column: usize| {
            of.as_ref().map(|of| of[sequence][column])
        };
        self.ids
            .iter()
            .enumerate()
            .flat_map(move |(sequence, ids)| {
                let mut counted = 0u64;
                (0..ids.len()).filter_map(move |column| {
                    let (token, real) = (ids[column], at(&self.mask, sequence, column) != Some(0));
                    let (counts, first) = match counting {
                        Counting::Columns => (true, 0),
                        Counting::Unmasked => (real, 0),
                        Counting::Unpadded(padding) => (token != padding, padding + 1),
                    };
                    counted += u64::from(counts);
                    let usual = counted.saturating_sub(1);
                    let given = at(&self.positions, sequence, column);
                    let position = given.map_or(usual, |given| given.saturating_sub(first).into());
                    let row = Row {
                        token,
                        position,
                        sequence: sequence as u32,
                        emit: true,
                        token_type: at(&self.token_types, sequence, column).unwrap_or(0),
                        global: at(&self.global, sequence, column).map(|global| global != 0),
                    };
                    real.then_some((row, column))
                })
            })
    }
}

/// A graph's outputs.
pub(crate) fn emits(graph: &Graph) -> impl Iterator<Item = &Emit> {
    graph.nodes.iter().filter_map(|node| match &node.op {
        Op::Emit(emit) => Some(emit),
        _ => None,
    })
}

/// Whether a model has a number for each sequence, by which one of several can be chosen.
fn chooses(model: &Model) -> bool {
    let graph = model.graph(Role::Encode);
    let mut emits = graph.into_iter().flat_map(|graph| {
        let space = |emit: &Emit| (emit.squeezed, graph.info(emit.x).space);
        emits(graph).map(space)
    });
    emits.any(|emit| emit == (true, RowSpace::Sequence))
}
