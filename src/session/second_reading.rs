//! What the decoders of models that judge texts read, and which of its rows count.

use super::Session;
use crate::error::RunError;
use crate::exec::Row;

impl Session {
    /// What is to be fed after `source` was encoded, where a model's decoder reads the encoder's text
    /// once more to classify it or to mark answers in it; the rows of each sequence stand together.
    /// `None` where outputs come from the encoder alone, or where there is no encoder.
    ///
    /// # Errors
    /// A text without the token at whose place the model's output is.
    pub fn decoder_rows(&self, source: &[Row]) -> Result<Option<Vec<Row>>, RunError> {
        let Some(reading) = self.model.second_reading() else {
            return Ok(None);
        };
        let mut fed = Vec::with_capacity(source.len());
        for rows in source.chunk_by(|a, b| a.sequence == b.sequence) {
            let ids: Vec<u32> = rows.iter().map(|row| row.token).collect();
            let place = self.place_of(&ids, rows[0].sequence)?;
            let read = reading.tokens(&ids).into_iter().zip(rows).enumerate();
            fed.extend(read.map(|(index, (token, row))| Row {
                token,
                emit: place.is_none_or(|place| place == index),
                ..*row
            }));
        }
        Ok(Some(fed))
    }

    /// Which token's row of a text is the only one that counts, if not all do.
    pub(crate) fn place_of(&self, ids: &[u32], sequence: u32) -> Result<Option<usize>, RunError> {
        let place = self.model.read_at().map(|at| at.place(ids)).transpose();
        place.map_err(|token| {
            let title = self.model.title();
            RunError::Input(format!(
                "sequence {sequence} has no token {token}, at whose place the output of {title} is"
            ))
        })
    }
}
