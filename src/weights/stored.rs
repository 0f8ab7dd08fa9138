//! How a canonical tensor's bytes lie in the files.

use super::Source;
use super::read_float::{ReadFloat, power_of_two};
use super::three_values::to_three;
use crate::error::{LoadError, LoadErrorKind};
use crate::graph::three_valued;
use crate::quant;
use rillm_formats::manifest::{Array, ForeignTensor, Manifest, TensorInfo};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// One stored tensor.
#[derive(Clone, Debug)]
pub enum Stored {
    /// Of a type that is computed with.
    Typed(TensorInfo),
    /// What is read and not computed with: small floats whose scales are another tensor, and double
    /// precision.
    Scaled(Scaled),
}

impl Stored {
    /// Extents, outermost first.
    pub fn shape(&self) -> &[u64] {
        match self {
            Stored::Typed(info) => &info.shape.0,
            Stored::Scaled(scaled) => &scaled.shape,
        }
    }

    /// Makes `[rows, heads, dim]` a matrix, whose columns are the heads' one after the other.
    pub(super) fn join_heads(&mut self) {
        let shape = match self {
            Stored::Typed(info) => &mut info.shape.0,
            Stored::Scaled(scaled) => &mut scaled.shape,
        };
        if let [rows, heads, dim] = shape[..]
            && let Some(columns) = heads.checked_mul(dim)
        {
            *shape = vec![rows, columns];
        }
    }
}

/// Matrices of small floats with scales, as published checkpoints hold them: FP8 with scales for
/// blocks, rows or whole matrices, MXFP4, and three values. Doubles are read in the same way, without
/// scales.
#[derive(Clone, Debug)]
pub struct Scaled {
    /// Extents as seen, outermost first: of a matrix, or of a stack of them.
    pub(super) shape: Vec<u64>,
    pub(super) form: ReadFloat,
    pub(super) values: StoredBytes,
    pub(super) scales: Option<Scales>,
    /// Where values become three when they are read: what all are divided by before, once it is
    /// worked out.
    pub(super) becomes_three: Option<Arc<OnceLock<f32>>>,
}

/// What values and scales make up.
pub(super) struct ScaledTensor<'a> {
    /// What the files would call it.
    pub whole: &'a str,
    pub scaled: Scaled,
    /// What they call its scales.
    pub scales: Option<String>,
}

/// Bytes of a file.
#[derive(Clone, Debug)]
pub(super) struct StoredBytes {
    pub file: usize,
    pub range: Range<usize>,
}

/// What values are multiplied by, and which of them by which.
#[derive(Clone, Debug)]
pub(super) struct Scales {
    pub dtype: ScaleType,
    pub place: StoredBytes,
    /// Whether values are divided by them instead.
    pub divide: bool,
    /// Rows and columns of a matrix that share a scale.
    pub block: [usize; 2],
    /// Scales of a row of blocks, and of a whole matrix; none if all matrices share one.
    pub row: usize,
    pub matrix: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum ScaleType {
    Typed(quant::Decode, usize),
    /// A power of two, by its exponent with a bias of 127.
    E8M0,
}

/// What stands behind a tensor's name in that of its scales.
const SCALE_NAMES: [&str; 2] = ["_scale_inv", "_scale"];

/// Values and scales of MXFP4, behind the name of what they make up.
pub(super) const FP4_NAMES: (&str, &str) = ("_blocks", "_scales");

/// Values that share a scale in MXFP4.
const FP4_BLOCK: usize = 32;

impl Scaled {
    /// What a tensor of a foreign type is a part of; `None` if nothing is known of how to read it.
    ///
    /// # Errors
    /// Scales that are missing or of another shape.
    pub(super) fn read<'a>(
        manifest: &'a Manifest,
        name: &'a str,
        tensor: &ForeignTensor,
    ) -> Result<Option<ScaledTensor<'a>>, LoadError> {
        if tensor.range.is_empty() {
            return Ok(None);
        }
        let form = match tensor.dtype.as_str() {
            "F8_E4M3" => ReadFloat::E4M3,
            "F8_E5M2" => ReadFloat::E5M2,
            "U8" if name.ends_with(FP4_NAMES.0) => return Scaled::read_fp4(manifest, name, tensor),
            "U8" if three_valued(&manifest.metadata) => {
                return Scaled::read_trits(manifest, name, tensor);
            }
            _ => return Ok(None),
        };
        let names = SCALE_NAMES.map(|end| format!("{name}{end}"));
        let found = names
            .into_iter()
            .find(|name| find(manifest, name).is_some());
        let Some(scale_name) = found else {
            // Where the configuration says nothing of scales, the values stand for themselves.
            if says_quantized(manifest) {
                return Err(no_scales(name, &format!("{name}{}", SCALE_NAMES[0])));
            }
            let scaled = Scaled {
                shape: tensor.shape.0.clone(),
                form,
                values: place(tensor.file, &tensor.range),
                scales: None,
                becomes_three: None,
            };
            return Ok(Some(ScaledTensor {
                whole: name,
                scaled,
                scales: None,
            }));
        };
        let Some((dtype, shape, place_of_scales)) = find(manifest, &scale_name) else {
            return Ok(None);
        };
        let scales = Scales::of(manifest, &tensor.shape.0, dtype, shape, place_of_scales);
        let scales =
            scales.ok_or_else(|| other_scales(&scale_name, shape, name, &tensor.shape.0))?;
        let scaled = Scaled {
            shape: tensor.shape.0.clone(),
            form,
            values: place(tensor.file, &tensor.range),
            scales: Some(scales),
            becomes_three: None,
        };
        Ok(Some(ScaledTensor {
            whole: name,
            scaled,
            scales: Some(scale_name),
        }))
    }

    /// A tensor of double precision.
    pub(super) fn doubles(info: &TensorInfo) -> Scaled {
        Scaled {
            shape: info.shape.0.clone(),
            form: ReadFloat::F64,
            values: place(info.file, &info.range),
            scales: None,
            becomes_three: None,
        }
    }

    /// `[…, rows, blocks, 16]` bytes and `[…, rows, blocks]` exponents.
    fn read_fp4<'a>(
        manifest: &'a Manifest,
        name: &'a str,
        tensor: &ForeignTensor,
    ) -> Result<Option<ScaledTensor<'a>>, LoadError> {
        let whole = name.strip_suffix(FP4_NAMES.0).unwrap_or(name);
        let scale_name = format!("{whole}{}", FP4_NAMES.1);
        let Some((dtype @ ScaleType::E8M0, scale_shape, place_of_scales)) =
            find(manifest, &scale_name)
        else {
            return Err(no_scales(name, &scale_name));
        };
        let [rest @ .., blocks, 16] = &tensor.shape.0[..] else {
            return Ok(None);
        };
        if *scale_shape != tensor.shape.0[..tensor.shape.0.len() - 1] || rest.is_empty() {
            return Err(other_scales(
                &scale_name,
                scale_shape,
                name,
                &tensor.shape.0,
            ));
        }
        let columns = *blocks as usize * FP4_BLOCK;
        let mut shape = rest.to_vec();
        shape.push(columns as u64);
        let [rows, _] = matrix(&shape);
        let scaled = Scaled {
            form: ReadFloat::E2M1,
            values: place(tensor.file, &tensor.range),
            scales: Some(Scales {
                dtype,
                place: place_of_scales,
                divide: false,
                block: [1, FP4_BLOCK],
                row: *blocks as usize,
                matrix: rows * *blocks as usize,
            }),
            becomes_three: None,
            shape,
        };
        Ok(Some(ScaledTensor {
            whole,
            scaled,
            scales: Some(scale_name),
        }))
    }

    /// How files call the form, for people.
    pub fn name(&self) -> &'static str {
        match self.form {
            ReadFloat::E4M3 => "FP8 (F8_E4M3)",
            ReadFloat::E5M2 => "FP8 (F8_E5M2)",
            ReadFloat::E2M1 => "MXFP4",
            ReadFloat::F64 => "F64 (double precision)",
            ReadFloat::Trits | ReadFloat::Typed(..) => "of three values",
        }
    }

    /// The mix by whose name people can have a file that is computed with.
    pub fn becomes(&self) -> &'static str {
        let whole_blocks = self.shape.last().is_some_and(|n| n.is_multiple_of(256));
        match self.form {
            ReadFloat::Trits | ReadFloat::Typed(..) if whole_blocks => "tq2_0",
            ReadFloat::E2M1 => "mxfp4_moe",
            _ => "q8_0",
        }
    }

    /// Whether its scales are another tensor.
    pub fn has_scales(&self) -> bool {
        self.scales.is_some()
    }

    /// Values from number `first` on, as many as `out` has. Of whole rows one after the other they
    /// are read fastest.
    pub fn values(&self, sources: &[Source], first: usize, out: &mut [f32]) {
        let [rows, columns] = matrix(&self.shape);
        if columns == 0 || rows == 0 {
            return;
        }
        let bytes = bytes(sources, &self.values);
        let (mut at, mut rest) = (first, out);
        while !rest.is_empty() {
            let (row, column) = (at / columns, at % columns);
            let (scale, end) = self.scale(sources, row / rows, row % rows, column, columns);
            let (now, later) = rest.split_at_mut((end - column).min(rest.len()));
            self.form.read(bytes, at, now);
            now.iter_mut().for_each(|value| *value *= scale);
            if let Some(mean) = &self.becomes_three {
                let mean = *mean.get_or_init(|| self.mean(bytes));
                to_three(now, mean);
            }
            at += now.len();
            rest = later;
        }
    }

    /// The scale of a place, and the column behind the last one that it holds for.
    fn scale(
        &self,
        sources: &[Source],
        matrix: usize,
        row: usize,
        column: usize,
        columns: usize,
    ) -> (f32, usize) {
        let Some(scales) = &self.scales else {
            return (1.0, columns);
        };
        let block = column / scales.block[1];
        let index = matrix * scales.matrix + row / scales.block[0] * scales.row + block;
        let bytes = bytes(sources, &scales.place);
        let mut scale = [0.0];
        match scales.dtype {
            ScaleType::Typed(decode, len) => {
                decode(
                    bytes
                        .get(index * len..(index + 1) * len)
                        .unwrap_or_default(),
                    &mut scale,
                );
            }
            ScaleType::E8M0 => scale = [power_of_two(bytes.get(index).copied().unwrap_or(127))],
        }
        if scales.divide {
            scale = scale.map(f32::recip);
        }
        (scale[0], ((block + 1) * scales.block[1]).min(columns))
    }
}

impl Scales {
    /// Scales of these extents for a tensor of those, which holds values: one for all, or for each
    /// block as the configuration says or as is usual, row, or matrix of a stack.
    fn of(
        manifest: &Manifest,
        values: &[u64],
        dtype: ScaleType,
        shape: &[u64],
        place: StoredBytes,
    ) -> Option<Scales> {
        let [rows, columns] = matrix(values);
        let matrices = values.iter().rev().skip(2).product::<u64>() as usize;
        let count = place.range.len() / dtype.len();
        let of_matrix = match *shape {
            // A vector has one for each row.
            [rows] => [rows as usize, 1],
            _ => matrix(shape),
        };
        let grid = |[r, c]: [usize; 2]| [rows.div_ceil(r), columns.div_ceil(c)];
        let fits = |block: &[usize; 2]| {
            let [r, c] = grid(*block);
            matrices * r * c == count && (of_matrix == [r, c] || count == matrices)
        };
        // What the configuration says, what is usual, and what the scales' own extents say.
        let [r, c] = of_matrix.map(|extent| extent.max(1));
        let even = rows.is_multiple_of(r) && columns.is_multiple_of(c);
        let others = [
            [128, 128],
            [1, columns],
            [rows, columns],
            [rows / r, columns / c],
        ];
        let others = others.into_iter().take(if even { 4 } else { 3 });
        let block = said_block(manifest).into_iter().chain(others).find(fits);
        let (block, matrix) = match block {
            _ if count == 1 => ([rows, columns], 0),
            Some(block) => (block, grid(block).iter().product()),
            None => return None,
        };
        Some(Scales {
            dtype,
            place,
            divide: false,
            block,
            row: columns.div_ceil(block[1]),
            matrix,
        })
    }
}

impl ScaleType {
    /// Bytes of a scale.
    fn len(self) -> usize {
        match self {
            ScaleType::Typed(_, len) => len,
            ScaleType::E8M0 => 1,
        }
    }
}

/// A tensor of scales: its type, extents and place.
pub(super) fn find<'a>(
    manifest: &'a Manifest,
    name: &str,
) -> Option<(ScaleType, &'a [u64], StoredBytes)> {
    if let Some(info) = manifest.tensors.get(name) {
        let len = info.dtype.block_len() as usize;
        let decode = quant::decode(info.dtype).filter(|_| info.dtype.block_elements() == 1)?;
        let dtype = ScaleType::Typed(decode, len);
        return Some((dtype, &info.shape.0, place(info.file, &info.range)));
    }
    let tensor = manifest.unsupported.get(name)?;
    let is_exponent = matches!(tensor.dtype.as_str(), "U8" | "F8_E8M0");
    is_exponent.then(|| {
        (
            ScaleType::E8M0,
            &tensor.shape.0[..],
            place(tensor.file, &tensor.range),
        )
    })
}

/// Whether the configuration says that weights are quantized.
fn says_quantized(manifest: &Manifest) -> bool {
    let mut keys = manifest.metadata.0.keys();
    keys.any(|key| key.starts_with("quantization_config."))
}

/// Rows and columns of a block, as the configuration says.
fn said_block(manifest: &Manifest) -> Option<[usize; 2]> {
    let keys = [
        "quantization_config.weight_block_size",
        "quantization_config.config_groups.group_0.weights.block_structure",
    ];
    let list: &Array = keys.iter().find_map(|key| manifest.metadata.array(key))?;
    let extent = |index| {
        list.u64(index)
            .and_then(|n| usize::try_from(n).ok())
            .filter(|&n| n > 0)
    };
    (list.len() == 2).then_some(())?;
    Some([extent(0)?, extent(1)?])
}

/// The two innermost extents; a vector is one row.
pub(super) fn matrix(shape: &[u64]) -> [usize; 2] {
    match *shape {
        [.., rows, columns] => [rows as usize, columns as usize],
        [columns] => [1, columns as usize],
        [] => [1, 1],
    }
}

pub(super) fn place(file: u32, range: &Range<u64>) -> StoredBytes {
    StoredBytes {
        file: file as usize,
        range: range.start as usize..range.end as usize,
    }
}

/// The formats crate has checked the range against the file.
fn bytes<'a>(sources: &'a [Source], place: &StoredBytes) -> &'a [u8] {
    let source = sources.get(place.file).map(Source::bytes);
    source
        .and_then(|bytes| bytes.get(place.range.clone()))
        .unwrap_or_default()
}

pub(super) fn other_scales(scales: &str, found: &[u64], name: &str, shape: &[u64]) -> LoadError {
    let what = format!(
        "tensor {scales} has shape {found:?}, expected a scale for each block, row or matrix of \
         {name} {shape:?}"
    );
    LoadError::new(LoadErrorKind::Tensor, what)
}

pub(super) fn no_scales(name: &str, scales: &str) -> LoadError {
    let what = format!("tensor {name} is quantized, but its scales {scales} are missing");
    LoadError::new(LoadErrorKind::Tensor, what)
}
