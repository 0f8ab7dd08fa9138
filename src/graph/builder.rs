//! What an architecture takes from its model: weights (each one's shape checked against the
//! files), state and hyperparameters, recorded behind `&self`.

use super::{
    Config, Counting, Forced, GlobalRows, Graph, Matrix, MatrixSpec, Net, Piece, ReadAt, Role,
    RowOrder, SecondReading, StateId, StateKind, Vector, VectorSpec, View, Wiring,
};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;

/// Says which tensors the files hold, under canonical names.
pub trait Catalog {
    /// Extents, outermost first, as seen through the tensor's view.
    fn shape(&self, name: &str) -> Option<&[u64]>;

    /// Whether there is one, for those who can do without.
    fn holds(&self, name: &str) -> bool {
        self.shape(name).is_some()
    }

    /// Whether there is one, for those who do something else then.
    fn has(&self, name: &str) -> bool {
        self.shape(name).is_some()
    }

    /// Takes a tensor of which the files say nothing to be there with these extents, where anything is
    /// presumed of it.
    fn presumes(&self, _name: &str, _extents: &[u64]) -> bool {
        false
    }

    /// The outermost extent of such a tensor.
    fn presumed_rows(&self, _name: &str) -> Option<u64> {
        None
    }
}

/// Why a model could not be built from its files.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// A hyperparameter is absent.
    Missing {
        /// Its key.
        key: String,
    },
    /// A hyperparameter makes no sense.
    Invalid {
        /// Its key.
        key: String,
        /// What is there.
        found: String,
        /// What should be.
        expected: String,
    },
    /// It is not known what a hyperparameter changes.
    Unknown {
        /// Its key.
        key: String,
        /// What is there.
        found: String,
    },
    /// A tensor is absent.
    NoTensor {
        /// Its canonical name.
        name: String,
    },
    /// A tensor has other extents than its hyperparameters imply.
    Shape {
        /// Its canonical name.
        name: String,
        /// Extents in the file.
        found: Vec<u64>,
        /// Extents implied.
        expected: Vec<u64>,
    },
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BuildError::Missing { key } => write!(f, "hyperparameter {key} is missing"),
            BuildError::Invalid {
                key,
                found,
                expected,
            } => {
                write!(f, "hyperparameter {key} is {found}, expected {expected}")
            }
            BuildError::Unknown { key, found } => write!(
                f,
                "hyperparameter {key} is {found}, and it is not known what it changes: results \
                 could be wrong (take it out of the file if it changes nothing)"
            ),
            BuildError::NoTensor { name } => write!(f, "tensor {name} is missing"),
            BuildError::Shape {
                name,
                found,
                expected,
            } => write!(
                f,
                "tensor {name} has shape {found:?}, but the hyperparameters imply {expected:?}"
            ),
        }
    }
}

impl std::error::Error for BuildError {}

impl BuildError {
    /// The same error about the tensor as it is stored, under the name and in the form that
    /// `stored` gives for a canonical name.
    pub fn as_stored(mut self, stored: impl Fn(&str) -> Option<(String, View)>) -> BuildError {
        match &mut self {
            BuildError::NoTensor { name } => {
                if let Some((theirs, _)) = stored(name) {
                    *name = theirs;
                }
            }
            BuildError::Shape {
                name,
                found,
                expected,
            } => {
                if let Some((theirs, view)) = stored(name) {
                    *name = theirs;
                    if matches!(view, View::Transposed | View::HeadsTransposed) {
                        transpose(found);
                        transpose(expected);
                    }
                }
            }
            BuildError::Missing { .. }
            | BuildError::Invalid { .. }
            | BuildError::Unknown { .. } => {}
        }
        self
    }
}

/// The extents of a matrix, or of those of a stack, the other way round.
pub fn transpose(shape: &mut [u64]) {
    if let [.., rows, columns] = shape {
        std::mem::swap(rows, columns);
    }
}

/// Records one model.
pub struct Builder<'a> {
    config: Config<'a>,
    catalog: &'a dyn Catalog,
    pub(super) wiring: RefCell<Wiring>,
    matrix_ids: RefCell<HashMap<MatrixSpec, u32>>,
    vector_ids: RefCell<HashMap<VectorSpec, u32>>,
}

impl<'a> Builder<'a> {
    /// A recorder over what the files hold.
    pub fn new(config: Config<'a>, catalog: &'a dyn Catalog) -> Builder<'a> {
        Builder {
            config,
            catalog,
            wiring: RefCell::default(),
            matrix_ids: RefCell::default(),
            vector_ids: RefCell::default(),
        }
    }

    /// What was recorded.
    pub fn finish(self) -> Wiring {
        Wiring {
            granted: self.config.granted(),
            reals: self.config.reals(),
            ..self.wiring.into_inner()
        }
    }

    /// The hyperparameters.
    pub fn config(&self) -> &Config<'a> {
        &self.config
    }

    /// Says for how many positions the model was trained.
    pub fn context(&self, positions: usize) {
        self.wiring.borrow_mut().context = Some(positions);
    }

    /// Says which token decoding starts from.
    pub fn decoder_start(&self, token: u32) {
        self.wiring.borrow_mut().decoder_start = Some(token);
    }

    /// Says which tokens its texts have whatever it predicts.
    pub fn forces(&self, forced: Forced) {
        self.wiring.borrow_mut().forced = forced;
    }

    /// Says that a decoder which is given no text reads its encoder's.
    pub fn reads_again(&self, reading: SecondReading) {
        self.wiring.borrow_mut().second_reading = Some(reading);
    }

    /// Says that nothing but the name of its class tells what it answers.
    pub fn class_counts(&self) {
        self.wiring.borrow_mut().class_counts = true;
    }

    /// Says that of a text's rows only the one at this place counts.
    pub fn reads_at(&self, place: ReadAt) {
        self.wiring.borrow_mut().read_at = Some(place);
    }

    /// Says what the model counts positions over.
    pub fn counts_positions(&self, counting: Counting) {
        self.wiring.borrow_mut().counting = counting;
    }

    /// Says that rows may be global, and which are where nobody says.
    pub fn global_rows(&self, usual: GlobalRows) {
        self.wiring.borrow_mut().global_rows = Some(usual);
    }

    /// Says that tokens up to the first such one are a question: of the first type, as those behind are
    /// of the second, where nobody says, and no part of an answer.
    pub fn ends_questions(&self, separator: u32) {
        self.wiring.borrow_mut().question_separator = Some(separator);
    }

    /// Says that layers from this one on are there for another purpose and are left out.
    pub fn leaves_out_layers(&self, first: usize) {
        self.wiring.borrow_mut().layers_left_out = Some(first);
        self.guesses_nothing();
    }

    /// Says that the files hold layers which guess tokens after the next one.
    pub fn guesses_nothing(&self) {
        let what = "the layers that guess tokens after the next one are not used";
        self.wiring.borrow_mut().notes.push(what.to_string());
    }

    /// Whether what a matrix is multiplied by is rounded first: of layers, if of any.
    pub(super) fn rounds_inputs(&self, matrix: Matrix) -> bool {
        let of_layer = |spec: &MatrixSpec| spec.name.starts_with("blk.");
        self.config.rounds_inputs() && of_layer(&self.wiring.borrow().matrices[matrix.id as usize])
    }

    /// Whether the files hold a tensor that is not needed otherwise.
    pub fn holds(&self, name: &str) -> bool {
        self.catalog.holds(name)
    }

    /// Whether the files hold a tensor.
    pub fn has(&self, name: &str) -> bool {
        self.catalog.has(name)
    }

    /// The outermost extent of a tensor: how many tokens a table has, say.
    pub fn rows(&self, name: &str) -> Result<usize, BuildError> {
        let shape = match self.catalog.presumed_rows(name) {
            Some(rows) => vec![rows],
            None => self.shape(name)?.to_vec(),
        };
        let rows = shape.first().copied().unwrap_or(1);
        match usize::try_from(rows) {
            Ok(rows) if rows > 0 => Ok(rows),
            _ => Err(BuildError::Shape {
                name: name.to_string(),
                found: shape,
                expected: vec![1],
            }),
        }
    }

    /// A matrix of `rows` outputs and `columns` inputs.
    pub fn matrix(&self, name: &str, rows: usize, columns: usize) -> Result<Matrix, BuildError> {
        self.expect(name, &[rows, columns])?;
        Ok(self.add_matrix(name, rows, columns, 1, RowOrder::All))
    }

    /// `rows` rows of a stored matrix of `stored` rows.
    pub fn matrix_rows(
        &self,
        name: &str,
        (stored, columns): (usize, usize),
        rows: usize,
        order: RowOrder,
    ) -> Result<Matrix, BuildError> {
        self.expect(name, &[stored, columns])?;
        if !order.fits(rows, stored) {
            return Err(BuildError::Shape {
                name: name.to_string(),
                found: vec![stored as u64, columns as u64],
                expected: vec![rows as u64, columns as u64],
            });
        }
        Ok(self.add_matrix(name, rows, columns, 1, order))
    }

    /// `len` numbers of a stored vector of `stored`, if there is one: the biases of
    /// [`Builder::matrix_rows`].
    pub fn optional_vector_rows(
        &self,
        name: &str,
        stored: usize,
        len: usize,
        order: RowOrder,
    ) -> Result<Option<Vector>, BuildError> {
        if !self.has(name) {
            return Ok(None);
        }
        self.expect(name, &[stored])?;
        assert!(
            order.fits(len, stored),
            "architecture: biases of other rows"
        );
        Ok(Some(self.add_vector(name, len, order)))
    }

    /// Matrix number `index` of a stack `[stack, rows, columns]`.
    pub fn matrix_of(
        &self,
        name: &str,
        [stack, rows, columns]: [usize; 3],
        index: usize,
    ) -> Result<Matrix, BuildError> {
        self.expect(name, &[stack, rows, columns])?;
        assert!(index < stack, "architecture: past the end of a stack");
        let order = RowOrder::Blocks {
            block: rows,
            stride: rows,
            offset: index * rows,
        };
        Ok(self.add_matrix(name, rows, columns, 1, order))
    }

    /// One matrix per expert, stacked: `[experts, rows, columns]`.
    pub fn experts(
        &self,
        name: &str,
        experts: usize,
        rows: usize,
        columns: usize,
    ) -> Result<Matrix, BuildError> {
        self.expect(name, &[experts, rows, columns])?;
        Ok(self.add_matrix(name, rows, columns, experts, RowOrder::All))
    }

    /// The same where experts' matrices stand in one, one below the other: `[experts · rows,
    /// columns]`.
    pub fn experts_below(
        &self,
        name: &str,
        [experts, rows, columns]: [usize; 3],
    ) -> Result<Matrix, BuildError> {
        self.expect(name, &[experts.saturating_mul(rows), columns])?;
        Ok(self.add_matrix(name, rows, columns, experts, RowOrder::All))
    }

    /// The same where they stand so and are stored transposed: seen, one beside the other, `[rows,
    /// experts · columns]`.
    pub fn experts_beside(
        &self,
        name: &str,
        [experts, rows, columns]: [usize; 3],
    ) -> Result<Matrix, BuildError> {
        self.expect(name, &[rows, experts.saturating_mul(columns)])?;
        Ok(self.add_matrix(name, rows, columns, experts, RowOrder::All))
    }

    /// The same where each expert's `rows` rows, from row `offset` on, are a part of its `stored`.
    pub fn experts_part(
        &self,
        name: &str,
        experts: usize,
        (stored, columns): (usize, usize),
        (offset, rows): (usize, usize),
    ) -> Result<Matrix, BuildError> {
        self.expect(name, &[experts, stored, columns])?;
        assert!(
            offset + rows <= stored,
            "architecture: rows past an expert's end"
        );
        let order = RowOrder::Blocks {
            block: rows,
            stride: stored,
            offset,
        };
        Ok(self.add_matrix(name, rows, columns, experts, order))
    }

    /// Every other row of each expert's, from row `offset` on, and their biases, which are there.
    pub fn experts_by_turns(
        &self,
        name: &str,
        experts: usize,
        (rows, columns): (usize, usize),
        offset: usize,
    ) -> Result<(Matrix, Option<Vector>), BuildError> {
        let stored = rows.saturating_mul(2);
        let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
        self.expect(&weight, &[experts, stored, columns])?;
        self.expect(&bias, &[experts, stored])?;
        let order = RowOrder::Blocks {
            block: 1,
            stride: 2,
            offset,
        };
        let weight = self.add_matrix(&weight, rows, columns, experts, order);
        Ok((weight, Some(self.add_vector(&bias, experts * rows, order))))
    }

    /// The same of a stack that is stored as one matrix.
    pub fn stack_part(
        &self,
        name: &str,
        stack: usize,
        (stored, columns): (usize, usize),
        (offset, rows): (usize, usize),
    ) -> Result<Matrix, BuildError> {
        self.expect(name, &[stack.saturating_mul(stored), columns])?;
        assert!(
            offset + rows <= stored,
            "architecture: rows past the end of a matrix"
        );
        let order = RowOrder::Blocks {
            block: rows,
            stride: stored,
            offset,
        };
        Ok(self.add_matrix(name, rows, columns, stack, order))
    }

    /// A small parameter of these extents; extents of one do not count.
    pub fn vector(&self, name: &str, shape: &[usize]) -> Result<Vector, BuildError> {
        self.expect(name, shape)?;
        Ok(self.add_vector(name, shape.iter().product(), RowOrder::All))
    }

    /// The parameters `[channels, columns]` of a scan or a convolution, turned as its kernel
    /// wants them.
    pub fn turned(
        &self,
        name: &str,
        channels: usize,
        columns: usize,
    ) -> Result<Vector, BuildError> {
        self.turned_part(name, (channels, columns), (0, channels))
    }

    /// The same for `rows` channels of a stored table, from channel `before` on.
    pub fn turned_part(
        &self,
        name: &str,
        (channels, columns): (usize, usize),
        (before, rows): (usize, usize),
    ) -> Result<Vector, BuildError> {
        self.expect(name, &[channels, columns])?;
        assert!(
            before + rows <= channels,
            "architecture: channels past the end"
        );
        let order = RowOrder::Turned {
            rows,
            columns,
            before,
        };
        Ok(self.add_vector(name, rows * columns, order))
    }

    /// A parameter of `len` numbers, each `times` times: of heads, for every element of theirs.
    pub fn vector_repeated(
        &self,
        name: &str,
        len: usize,
        times: usize,
    ) -> Result<Vector, BuildError> {
        self.expect(name, &[len])?;
        Ok(self.add_vector(name, len * times, RowOrder::Repeated { times }))
    }

    /// Of each of `rows` rows of a matrix the inverse of its length.
    pub fn inverse_lengths(
        &self,
        name: &str,
        (rows, columns): (usize, usize),
    ) -> Result<Vector, BuildError> {
        self.expect(name, &[rows, columns])?;
        Ok(self.add_vector(name, rows, RowOrder::InverseLengths))
    }

    fn add_vector(&self, name: &str, len: usize, order: RowOrder) -> Vector {
        self.vector_of(VectorSpec {
            name: name.to_string(),
            len,
            order,
            constant: None,
        })
    }

    /// Numbers that no file holds.
    pub fn constant(&self, values: impl IntoIterator<Item = f32>) -> Vector {
        let bits: Vec<u32> = values.into_iter().map(f32::to_bits).collect();
        self.vector_of(VectorSpec {
            name: String::new(),
            len: bits.len(),
            order: RowOrder::All,
            constant: Some(bits),
        })
    }

    /// `len` numbers of a stored parameter of these extents, from number `offset` on.
    pub fn vector_range(
        &self,
        name: &str,
        shape: &[usize],
        (offset, len): (usize, usize),
    ) -> Result<Vector, BuildError> {
        self.expect(name, shape)?;
        let order = RowOrder::Blocks {
            block: len,
            stride: len,
            offset,
        };
        assert!(
            order.fits(len, shape.iter().product()),
            "architecture: range past the end"
        );
        Ok(self.add_vector(name, len, order))
    }

    fn vector_of(&self, spec: VectorSpec) -> Vector {
        let len = spec.len;
        let mut wiring = self.wiring.borrow_mut();
        let id = *self
            .vector_ids
            .borrow_mut()
            .entry(spec.clone())
            .or_insert_with(|| {
                wiring.vectors.push(spec);
                wiring.vectors.len() as u32 - 1
            });
        Vector { id, len }
    }

    /// A small parameter that not every checkpoint has.
    pub fn optional_vector(
        &self,
        name: &str,
        shape: &[usize],
    ) -> Result<Option<Vector>, BuildError> {
        if self.has(name) {
            self.vector(name, shape).map(Some)
        } else {
            Ok(None)
        }
    }

    /// A new piece of state.
    pub fn state<K: Copy + Into<StateKind>>(&self, kind: K) -> Piece<K> {
        let states = &mut self.wiring.borrow_mut().states;
        states.push(kind.into());
        Piece::new(StateId(states.len() as u32 - 1), kind)
    }

    /// A new graph.
    pub fn graph(&self, role: Role) -> Net<'_, 'a> {
        Net {
            builder: self,
            graph: RefCell::new(Graph::new(role)),
        }
    }

    fn shape(&self, name: &str) -> Result<&'a [u64], BuildError> {
        self.catalog
            .shape(name)
            .ok_or_else(|| BuildError::NoTensor {
                name: name.to_string(),
            })
    }

    pub(super) fn expect(&self, name: &str, expected: &[usize]) -> Result<(), BuildError> {
        let expected: Vec<u64> = expected.iter().map(|&extent| extent as u64).collect();
        if self.catalog.presumes(name, &expected) {
            return Ok(());
        }
        let found = self.shape(name)?;
        let same = |a: &[u64], b: &[u64]| {
            a.iter()
                .filter(|&&extent| extent != 1)
                .eq(b.iter().filter(|&&extent| extent != 1))
        };
        if same(found, &expected) {
            return Ok(());
        }
        Err(BuildError::Shape {
            name: name.to_string(),
            found: found.to_vec(),
            expected,
        })
    }

    pub(super) fn add_matrix(
        &self,
        name: &str,
        rows: usize,
        columns: usize,
        stack: usize,
        order: RowOrder,
    ) -> Matrix {
        // The product fits: the shape was found in a file whose byte ranges were checked.
        let spec = MatrixSpec {
            name: name.to_string(),
            rows: rows * stack,
            columns,
            order,
        };
        let mut wiring = self.wiring.borrow_mut();
        let id = *self
            .matrix_ids
            .borrow_mut()
            .entry(spec.clone())
            .or_insert_with(|| {
                wiring.matrices.push(spec);
                wiring.matrices.len() as u32 - 1
            });
        Matrix {
            id,
            rows,
            columns,
            stack,
        }
    }
}
